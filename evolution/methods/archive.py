"""Quality and diversity: what was tried, laid out in cells and on islands, and where it comes from.

An elite is the best candidate of its cell: a range of model sizes and a range of what its lists do
(MAP-Elites, Mouret & Clune 2015, arXiv 1504.04909). Islands hold elites of their own, so that one
good family does not crowd the others out; from time to time the best of each moves on to the next
(Tanese 1989). All of it is computed anew from what was tried, and the best is always an elite.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenticrs.evolution.methods.method import Tried

_BEST, _RANKED = 0.3, 0.45
"""Shares of parents that are the best one, and that are drawn by rank; the rest is what is rare."""


@dataclass(frozen=True)
class Layout:
    """How candidates are told apart."""

    islands: int = 3
    migrate_every: int = 6
    """Done candidates after which the best of each island moves on to the next one."""
    behaviour: str = "coverage@10"
    """The metric of what the lists do: the share of the catalogue that is shown at all."""
    step: float = 0.1
    """Width of a cell along that metric."""

    def cell(self, tried: Tried) -> Cell:
        """Where a candidate lies; a metric that is not known has a cell of its own."""
        parameters = tried.metrics.get("parameters", 0.0)
        behaviour = tried.metrics.get(self.behaviour)
        return Cell(
            size=int(math.log2(parameters)) if parameters >= 1 else None,
            behaviour=None if behaviour is None else math.floor(behaviour / self.step + 1e-9),
        )

    def island(self, tried: Tried) -> int:
        """The island that a candidate was made on; one that says nothing goes by a hash."""
        island = tried.note.get("island")
        if isinstance(island, int):
            return island % self.islands
        text = json.dumps(dict(tried.values), sort_keys=True, default=str)
        return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % self.islands


@dataclass(frozen=True)
class Cell:
    """A range of sizes (powers of two of the number of weights) and of behaviour; None: unknown."""

    size: int | None
    behaviour: int | None


@dataclass(frozen=True)
class Archive:
    """Elites by island and cell."""

    islands: tuple[Mapping[Cell, Tried], ...]
    crowd: Mapping[Cell, int]
    """How many done candidates fell into each cell, on all islands."""
    layout: Layout

    @staticmethod
    def of(tried: Sequence[Tried], layout: Layout = Layout()) -> Archive:
        """Lay out all done candidates, in the order in which they were tried."""
        islands: list[dict[Cell, Tried]] = [{} for _ in range(layout.islands)]
        crowd: Counter[Cell] = Counter()
        for done, one in enumerate((t for t in tried if _counts(t)), 1):
            crowd[layout.cell(one)] += 1
            _settle(islands[layout.island(one)], one, layout)
            if done % layout.migrate_every == 0:
                leaving = [_best(island.values()) for island in islands]
                for place, migrant in enumerate(leaving):
                    if migrant is not None:
                        _settle(islands[(place + 1) % layout.islands], migrant, layout)
        return Archive(tuple(islands), crowd, layout)

    def best(self) -> Tried | None:
        """The best of all; None while nothing is done."""
        return _best(one for island in self.islands for one in island.values())

    def elites(self, island: int) -> list[Tried]:
        """The elites of an island, best first."""
        return sorted(self.islands[island].values(), key=_order)

    def spread(self) -> list[Tried]:
        """The best of each cell, whatever its island, best first."""
        cells: dict[Cell, Tried] = {}
        for island in self.islands:
            for one in island.values():
                _settle(cells, one, self.layout)
        return sorted(cells.values(), key=_order)

    def parent(self, island: int, rng: np.random.Generator) -> Tried | None:
        """One to go on from: the best of the island, one of its elites by rank, or a rare one.

        None where the island has none.
        """
        elites = self.elites(island)
        if not elites:
            return None
        draw = rng.random()
        if draw < _BEST:
            return elites[0]
        if draw < _BEST + _RANKED:
            weights = 1.0 / np.arange(1, len(elites) + 1)
        else:
            weights = np.array([1.0 / self.crowd[self.layout.cell(one)] for one in elites])
        return elites[int(rng.choice(len(elites), p=weights / weights.sum()))]


@dataclass(frozen=True)
class Ancestor:
    """One step of a lineage: how a candidate came to be, and what came of it."""

    number: int
    origin: str
    parents: tuple[int, ...]
    """Numbers of the candidates that it was made from; none for one that was given or drawn."""
    difference: str
    prompts: tuple[str, ...]
    """Versions of the prompts, where a language model drew it."""
    model: str
    """That model."""
    cost: Mapping[str, Any]
    """What drawing it cost: tokens, money, seconds."""
    hypothesis: str
    """Why it was hoped to be better, where that was said."""
    state: str
    reward: float | None
    metrics: Mapping[str, float]


def lineage(tried: Sequence[Tried], number: int) -> tuple[Ancestor, ...]:
    """A candidate and all that it descends from, oldest first.

    Parents are named by ``note["parents"]`` or ``note["parent"]``: numbers of the same search, for
    language models as labels (``c3``). One of an earlier cycle, or what serves, ends a line.
    Raises KeyError for a number that was not tried.
    """
    by_number = {one.number: one for one in tried}
    found: dict[int, Tried] = {}
    waiting = [number]
    while waiting:
        one = by_number[waiting.pop()]
        if one.number not in found:
            found[one.number] = one
            waiting += [parent for parent in parents_of(one) if parent in by_number]
    return tuple(_ancestor(found[place]) for place in sorted(found))


def parents_of(tried: Tried) -> tuple[int, ...]:
    """Numbers of the candidates that one was made from."""
    several = tried.note.get("parents")
    one = tried.note.get("parent")
    named = several if isinstance(several, list | tuple) else [one]
    numbers = (_number(name) for name in named)
    return tuple(dict.fromkeys(n for n in numbers if n is not None and n < tried.number))


def _number(name: Any) -> int | None:
    """The number that a parent is named by, itself or as a label."""
    if isinstance(name, str) and re.fullmatch(r"c\d+", name):
        return int(name[1:])
    return name if isinstance(name, int) else None


def _ancestor(tried: Tried) -> Ancestor:
    kind, _, model = tried.origin.partition(":")
    return Ancestor(
        number=tried.number,
        origin=tried.origin,
        parents=parents_of(tried),
        difference=str(tried.note.get("difference", "")),
        prompts=tuple(str(version) for version in tried.note.get("prompts", ())),
        model=str(tried.note.get("model", model if kind == "llm" else "")),
        cost=dict(tried.note.get("cost", {})),
        hypothesis=str(tried.note.get("hypothesis", "")),
        state=tried.state,
        reward=tried.reward,
        metrics=dict(tried.metrics),
    )


def _counts(tried: Tried) -> bool:
    return tried.state == "done" and tried.reward is not None and math.isfinite(tried.reward)


def _settle(island: dict[Cell, Tried], one: Tried, layout: Layout) -> None:
    """Let a candidate be the elite of its cell if it is better than who is there."""
    cell = layout.cell(one)
    there = island.get(cell)
    if there is None or _order(one) < _order(there):
        island[cell] = one


def _best(candidates: Any) -> Tried | None:
    return min(candidates, key=_order, default=None)


def _order(tried: Tried) -> tuple[float, int]:
    """Best first; of equal ones the earlier."""
    return (-(tried.reward or 0.0), tried.number)
