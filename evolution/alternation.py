"""Which kind of cycle comes next when a surface alternates, and why.

Single agents evolve until they are saturated; then, or as soon as the world or the objectives have
moved, the graph changes; then its agents evolve again. What a person has not decided yet is waited
for, and when both kinds have brought nothing from the same data and agents, no cycle comes at all:
who evolves unattended must not pay for ever for nothing. Pure: ``course.py`` reads the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from agenticrs.evolution.request import CycleKind
from agenticrs.platform.errors import EvolutionError


class NothingDue(EvolutionError):
    """No cycle comes now; the message says why, the hint what would change that."""


@dataclass(frozen=True)
class Ended:
    """What one cycle on the present graph came to."""

    cycle: int
    kind: Literal["individual", "compositional"]
    brought: bool
    """Something of it was accepted: a version that is better than its champion, or an agent's first
    one. What a person rejected was not."""
    lift: float | None = None
    """The largest relative lift that was accepted; None for first versions and where none was."""
    world: str = ""
    """What it worked on: snapshot and agents."""


@dataclass(frozen=True)
class Record:
    """What has come of a surface since its graph last changed."""

    serves: bool
    world: str = ""
    """Snapshot and agents now."""
    trigger: str = ""
    """Why the graph should change at once, unless a compositional cycle has looked at that."""
    waiting: str = ""
    """What must be decided before anything else changes: a proposal, or a canary."""
    ended: tuple[Ended, ...] = ()
    """Cycles that began since, oldest first; a cycle that failed says nothing and is left out."""


@dataclass(frozen=True)
class Choice:
    """The kind of cycle that comes now; None: none does."""

    kind: CycleKind | None
    reason: str
    hint: str = ""
    """What a person can do when none does."""


def choose(record: Record, patience: int) -> Choice:
    """The next cycle; ``patience`` individual ones in a row that bring nothing are saturation.

    A trigger goes before a proposal that waits: that one was searched in the world as it was, and
    is superseded if another graph is found. Else a proposal is waited for: cycles beside it would
    polish members of a graph that is about to go, and file what takes its place undecided.
    """
    if record.trigger:
        beside = f"; {record.waiting}, and was made before that" if record.waiting else ""
        return Choice("compositional", f"the graph changes first: {record.trigger}{beside}")
    if record.waiting:
        return Choice(
            None,
            f"{record.waiting}: what serves is about to change, and agents evolve again when that "
            "is decided",
            "see `agenticrs proposals list` and `agenticrs canary`",
        )
    if not record.serves:
        return Choice("bootstrap", "nothing serves yet")
    idle = list(_idle(record.ended))
    if len(idle) < patience:
        return Choice("individual", _why_on(record.ended, len(idle), patience))
    return _saturated(record, idle)


def _saturated(record: Record, idle: list[Ended]) -> Choice:
    """Another graph, unless one has been looked for in this very world since the last gain."""
    saturated = f"agents are saturated: {_many(idle)} brought nothing that was accepted"
    last = next((one for one in reversed(record.ended) if one.kind == "compositional"), None)
    if last is None:
        return Choice("compositional", f"{saturated} since the graph changed")
    later = [one for one in record.ended if one.cycle > last.cycle and one.brought]
    if last.world == record.world and not later:
        return Choice(
            None,
            f"{saturated}, nor did compositional cycle {last.cycle}, and neither data nor agents "
            "have changed since",
            "new data, another agent or other weights begin it anew; `agenticrs evolve --kind "
            "individual` (compositional, both) runs one all the same",
        )
    return Choice("compositional", saturated)


def _idle(ended: tuple[Ended, ...]) -> Iterator[Ended]:
    """The newest individual cycles in a row that brought nothing, newest first."""
    for one in reversed(ended):
        if one.kind == "compositional" or one.brought:
            return
        yield one


def _why_on(ended: tuple[Ended, ...], idle: int, patience: int) -> str:
    if not ended:
        return "the graph is new: its agents evolve until they are saturated"
    last = ended[-1]
    if idle:
        # Who says "1 of 2" leaves no doubt about when the graph's turn comes.
        return f"{idle} of {patience} individual cycles in a row brought nothing: not yet saturated"
    if last.kind == "compositional":
        return f"cycle {last.cycle} left the graph as it is: its agents go on"
    brought = "first versions" if last.lift is None else f"{last.lift:+.1%}"
    return f"cycle {last.cycle} brought {brought}: agents go on until they are saturated"


def _many(idle: list[Ended]) -> str:
    numbers = ", ".join(str(one.cycle) for one in reversed(idle))
    return f"individual cycle{'s' if len(idle) > 1 else ''} {numbers}"
