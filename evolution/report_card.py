"""The report card of a composition: figures in five dimensions, each with how it was measured.

The last card of a composition is a file of its surface: it holds nothing that could not be measured
again, so the registry does not know of it.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agenticrs.evolution.evidence import Estimate


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Frozen):
    """A number of an agent, a node or a group of users; of the whole composition where it is "".

    ``value`` None: it could not be measured, and ``how`` says why. ``low`` and ``high`` are the
    bootstrap interval over users, where it is a mean over them.
    """

    of: str = ""
    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    how: str

    @staticmethod
    def estimated(name: str, estimate: Estimate | None, how: str, *, of: str = "") -> Figure:
        """A mean over users with its interval; None where there were no users."""
        if estimate is None:
            return Figure(of=of, name=name, value=None, how="not measured: it is for no user here")
        return Figure(
            of=of, name=name, value=estimate.mean, low=estimate.low, high=estimate.high, how=how
        )


class Dimension(_Frozen):
    """One of the five: ``key`` for programs, ``title`` for people."""

    key: str
    title: str
    figures: tuple[Figure, ...]

    def by_name(self) -> dict[str, tuple[Figure, ...]]:
        """The figures that can be compared, under the name they share, in the order of names."""
        names = dict.fromkeys(figure.name for figure in self.figures)
        return {name: tuple(f for f in self.figures if f.name == name) for name in names}


class ReportCard(_Frozen):
    """A composition, measured on the validation part of a snapshot's split.

    ``users`` are those whose rows neither steered a search nor taught an agent; ``seconds`` is what
    measuring took.
    """

    surface: str
    composition: int
    dataset: str
    fingerprint: str
    split: str
    users: int
    made_at: datetime
    seconds: float
    dimensions: tuple[Dimension, ...]


def store(home: Path, card: ReportCard) -> Path:
    """Keep the card in place of the composition's last one; readers see the old or the new."""
    path = _path(home, card.surface, card.composition)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_text(card.model_dump_json(indent=1))
    beside.replace(path)
    return path


def load(home: Path, surface: str, composition: int) -> ReportCard | None:
    """The composition's last card; None when there is none that this release can read."""
    try:
        return ReportCard.model_validate_json(_path(home, surface, composition).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def stored(home: Path, surface: str) -> list[ReportCard]:
    """The cards of a surface's compositions, the newest composition first."""
    numbers = [
        int(path.stem) for path in _folder(home, surface).glob("*.json") if path.stem.isdigit()
    ]
    found = [load(home, surface, number) for number in sorted(numbers, reverse=True)]
    return [card for card in found if card is not None]


def _folder(home: Path, surface: str) -> Path:
    return home / "reports" / surface


def _path(home: Path, surface: str, composition: int) -> Path:
    return _folder(home, surface) / f"{composition}.json"
