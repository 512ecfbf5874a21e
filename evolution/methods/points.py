"""Between configs, which may be nested, and the flat points that methods work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agenticrs.evolution.methods.method import State, Tried, Values
from agenticrs.registry.spec import ConcreteParameter
from agenticrs.registry.tables import TrialRow
from agenticrs.registry.trials import RUNGS

STRUCTURE = "structure"
_STATES: Mapping[str, State] = {
    "proposed": "open",
    "short": "open",
    "pruned": "pruned",
    "done": "done",
    "failed": "failed",
}


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """``{"weights": {"bpr": 1}}`` -> ``{"weights.bpr": 1}``; a structure stays whole."""
    values: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and name != STRUCTURE:
            values |= {f"{name}.{inner}": deep for inner, deep in value.items()}
        elif value is not None or name != STRUCTURE:
            values[name] = value
    return values


def tried(row: TrialRow) -> Tried:
    """A trial as methods see it."""
    return Tried(
        number=row.number,
        values=flat(row.config),
        state=_STATES[row.state],
        reward=row.reward if row.state == "done" else None,
        rungs=tuple(rung["reward"] for rung in row.note.get(RUNGS, ())),
        origin=row.method,
        error=row.error,
        metrics={n: v for n, v in row.metrics.items() if isinstance(v, int | float)},
        note=row.note,
        seconds=row.seconds,
        trial=row.id,
    )


def candidates(tried: Sequence[Tried]) -> list[Tried]:
    """Without drafts that came to nothing: rows that keep what those cost, and have no values."""
    return [one for one in tried if one.values or one.state != "failed"]


def untried(
    given: Sequence[Values], space: Sequence[ConcreteParameter], done: Sequence[Tried]
) -> list[dict[str, Any]]:
    """Given points that nobody has tried yet, each once, without what lies outside the space."""
    found: list[dict[str, Any]] = []
    for point in given:
        inside = {p.name: point[p.name] for p in space if p.name in point}
        known = [*(one.values for one in done), *found]
        if inside and not any(_agrees(inside, values) for values in known):
            found.append(inside)
    return found


def same(point: Values, done: Values) -> bool:
    """Whether a candidate was this point: its structure, or none, and all settings that it has."""
    return point.get(STRUCTURE) == done.get(STRUCTURE) and _agrees(point, done)


def _agrees(point: Values, done: Values) -> bool:
    return all(name in done and done[name] == value for name, value in point.items())
