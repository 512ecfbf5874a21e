"""What a model is told about the agent, its data and what was learnt: typed, bounded, without rows.

There is no place here for users, items or events: statistics are numbers by name. Everything is
cleaned and fenced when it is rendered (``rendering``), so whoever fills it in need not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agenticrs.evolution.methods.method import Tried, Values
from agenticrs.platform.errors import EvolutionError

LONGEST_NOTE = 4000
MOST_NOTES = 8


@dataclass(frozen=True)
class Note:
    """What people say about the business: one Markdown file."""

    title: str
    text: str


@dataclass(frozen=True)
class Lesson:
    """One entry of the memory: what was tried earlier, and what came of it."""

    proposal: str
    verdict: str
    lesson: str
    reason: str = ""
    expected: str = ""
    lift: float | None = None
    """Relative gain over what was best before; None when it was never measured."""

    @property
    def good(self) -> bool:
        """Whether it is an example to follow."""
        return self.verdict in ("promoted", "better", "approved")


@dataclass(frozen=True)
class Briefing:
    """The situation of one agent, or of a composition, at the start of a search.

    ``current`` are the values of what serves now, or of what ``current_is`` says; ``reward`` is
    its inner reward.
    ``segments`` are metrics by group of users, ``curves`` numbers by epoch (loss, metric),
    ``remembered`` candidates of earlier cycles whose rewards are comparable, newest first,
    ``known`` identities of structures that the memory holds. ``failures`` are errors of candidates
    in earlier cycles.
    """

    name: str
    summary: str
    role: str
    metric: str
    current: Values
    current_is: str = "What serves now"
    reward: float | None = None
    trial: int | None = None
    """The trial that what serves now comes from."""
    segments: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    data: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[Note] = ()
    lessons: Sequence[Lesson] = ()
    failures: Sequence[str] = ()
    remembered: Sequence[Tried] = ()
    known: frozenset[str] = frozenset()


def read_notes(folder: Path) -> tuple[Note, ...]:
    """The Markdown files of a folder by name, the first few, each cut to a length.

    Raises EvolutionError for a folder that is none, or a file that is no text.
    """
    if not folder.is_dir():
        raise EvolutionError(
            f"the folder of notes {folder} does not exist", hint="make it, or correct the setting"
        )
    notes = []
    for path in sorted(folder.glob("*.md"))[:MOST_NOTES]:
        try:
            with path.open(encoding="utf-8") as file:
                notes.append(Note(path.stem, file.read(LONGEST_NOTE + 1)))
        except (OSError, UnicodeDecodeError) as error:
            raise EvolutionError(
                f"the note {path} cannot be read: {error}", hint="notes are Markdown in UTF-8"
            ) from None
    return tuple(notes)
