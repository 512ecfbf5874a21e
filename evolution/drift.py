"""Whether the world has moved since the champion learnt: newest rows against its training window.

Rows of a log depend on each other (a user's, an hour's), and new users and items arrive all the
time, so tests that count rows as independent cry wolf. Here the window itself says how much it
varies: each of its blocks of consecutive rows is compared with rows before it, as the newest rows
are with the end of the window, at the same distance (the longer ago, the more unlike).

The newest block should then lie where least squares expect another block: at the level of the
others, and on their line through time. Either has the usual prediction interval, a t distribution,
and the larger of the two p values counts, so that neither a platform that stays nor one that moves
steadily is an alarm. Neighbours are alike, so the blocks count as fewer: n (1 - r) / (1 + r) at a
correlation r of neighbours (Bayley and Hammersley 1946). Of four signals, each looking for another
kind of change, the smallest p value counts four times (Bonferroni).

Nothing of this is exact: blocks are not normal, and how alike they are is an estimate. How often
looks at generated platforms raise a false alarm is measured (``benchmarks/drift.py``). ``alpha`` is
for a single look; who looks again and again will be alarmed in the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from agenticrs.platform.data.dataset import Dataset

Floats = npt.NDArray[np.floating[Any]]
BLOCKS = 39
"""Blocks of the window."""
BEFORE = 10
"""What a block is compared with: so many blocks' rows before it."""
LEAST_ROWS = 50
"""Rows of a block below which its shares are noise."""
_BINS = 10
_SMALL = 1e-4
_ALIKE = 1e-3
"""An index so small is as good as none."""
_NEVER, _CERTAIN = 1e-300, 1 - 1e-9
_CLOSEST = 0.9
"""Neighbours are taken to be no more alike than that."""


@dataclass(frozen=True)
class Signal:
    """One kind of change: its index, and what is usual for a block of the window."""

    name: str
    value: float
    usual: float
    """Mean over the window's blocks."""
    deviation: float
    """Its p value, said as standard deviations of a normal distribution: 1.6 for .05."""


@dataclass(frozen=True)
class Drift:
    """What was found; ``p_value``, (0, 1], is that of the largest deviation, for all signals."""

    signals: tuple[Signal, ...]
    p_value: float
    rows: int
    """New rows that were looked at; 0 when there were too few to tell."""

    def detected(self, alpha: float) -> bool:
        """Whether the world has moved, at a false-alarm rate of ``alpha``."""
        return self.rows > 0 and self.p_value <= alpha

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, for the cycle's row."""
        return {
            "p_value": self.p_value,
            "rows": self.rows,
            "signals": {
                s.name: {"value": s.value, "usual": s.usual, "deviation": s.deviation}
                for s in self.signals
            },
        }


NOTHING = Drift((), 1.0, 0)
"""Too little is new, or more than the window can be a measure of, or nothing has times."""


@dataclass(frozen=True)
class Look:
    """What one look found: a snapshot beside what a champion was made from.

    ``known`` are the rows that the champion knew, 0 where it was made from other data.
    """

    champion: str
    """Fingerprint of the champion's snapshot."""
    snapshot: str
    known: int
    drift: Drift


def drift(dataset: Dataset, known: int) -> Drift:
    """Compare the newest rows of a log with its ``known`` oldest ones, the champion's window."""
    log, total = dataset.interactions, len(dataset.interactions)
    new = total - known
    size = min(new, (known - new) // (BLOCKS + BEFORE - 1))
    if size < LEAST_ROWS or not dataset.has_times:
        return NOTHING
    between = new - size  # rows between the window's end and the newest block
    order = np.argsort(log.timestamp, kind="stable")
    starts = np.linspace(BEFORE * size + between, known - size, BLOCKS).astype(np.int64)
    looks = [_unlike(dataset, order, start - between, start, size) for start in starts.tolist()]
    looks.append(_unlike(dataset, order, known, total - size, size))
    places = np.append(starts, total - size).astype(np.float64)
    signals, least = [], 1.0
    for name in looks[0]:
        found = np.array([look[name] for look in looks])
        p_value = max(_chance(name, found, places, degree) for degree in (0, 1))
        least = min(least, p_value)
        size_of = np.abs(found)
        deviation = -NormalDist().inv_cdf(min(p_value, _CERTAIN))
        signals.append(Signal(name, float(size_of[-1]), float(size_of[:-1].mean()), deviation))
    return Drift(tuple(signals), min(1.0, len(signals) * least), size)


def _chance(name: str, found: Floats, places: Floats, degree: int) -> float:
    """P value of the last one found, where the others have a level (degree 0) or a line (1).

    ``found`` and ``places``, (BLOCKS + 1,). Indices count by their logarithm, which is closer to
    normal and where only more is unusual; the reward's difference, as it is, to both sides.
    """
    signed = name == "reward"
    heights = found if signed else np.log(found + _ALIKE)
    at = (places - places[:-1].mean()) / places[:-1].std()
    terms = at[:, None] ** np.arange(degree + 1)  # orthogonal over the window, of mean square 1
    usual, newest = terms[:-1], terms[-1]
    fit = usual.T @ heights[:-1] / BLOCKS
    rest = heights[:-1] - usual @ fit
    spread = float((rest**2).mean()) + 1e-12
    # An estimate from so few is too low by about 1 / BLOCKS.
    alike = float((rest[1:] * rest[:-1]).mean()) / spread + 1 / BLOCKS
    alike = min(max(0.0, alike), _CLOSEST)
    number = max(BLOCKS * (1 - alike) / (1 + alike), degree + 3.0)
    free = number - degree - 1
    variance = spread * number / free * (1 + float(newest @ newest) / number)
    t = float(heights[-1] - newest @ fit) / variance**0.5
    return 2 * _beyond(abs(t), free) if signed else _beyond(t, free)


def _beyond(t: float, free: float) -> float:
    """Chance that Student's t with so many degrees of freedom exceeds ``t``, (0, 1).

    By Wallace's (1959) normal deviate; for less than 5 degrees it is too large rather than small.
    """
    deviate = math.sqrt(free * math.log1p(t * t / free)) * (8 * free + 1) / (8 * free + 3)
    return max(math.erfc(math.copysign(deviate, t) / math.sqrt(2)) / 2, _NEVER)


def population_stability(expected: Floats, actual: Floats) -> float:
    """PSI of two vectors of shares, (bins,): sum of (actual - expected) log(actual / expected).

    By custom above .1 is a small change and above .25 a large one; here the window tells.
    """
    e, a = expected + _SMALL, actual + _SMALL
    e, a = e / e.sum(), a / a.sum()
    return float(((a - e) * np.log(a / e)).sum())


def _unlike(
    dataset: Dataset, order: npt.NDArray[np.int64], end: int, start: int, size: int
) -> dict[str, float]:
    """How unlike the rows [start, start + size) are those just before ``end``, by signal.

    Indices, at least 0, and the difference of the shares of positives, in [-1, 1].
    """
    log = dataset.interactions
    base, rows = order[end - BEFORE * size : end], order[start : start + size]
    taken, least = log.behaviours[dataset.positive.behaviour], dataset.positive.minimum
    groups = {
        "users": (_groups(np.bincount(log.user[base], minlength=dataset.n_users)), log.user),
        "items": (_groups(np.bincount(log.item[base], minlength=dataset.n_items)), log.item),
    }
    found = {
        name: population_stability(_shares(group[of[base]]), _shares(group[of[rows]]))
        for name, (group, of) in groups.items()
    }
    found["behaviours"] = max(
        _moved(values[base], values[rows]) for values in log.behaviours.values()
    )
    found["reward"] = float((taken[rows] >= least).mean() - (taken[base] >= least).mean())
    return found


def _shares(groups: npt.NDArray[np.int64]) -> Floats:
    return np.bincount(groups, minlength=_BINS + 1) / max(1, len(groups))


def _moved(usual: Floats, values: Floats) -> float:
    """The index of values over the tenths of the usual ones."""
    edges = np.unique(np.quantile(usual, np.linspace(0, 1, _BINS + 1)[1:-1]))
    binned = (_shares(np.searchsorted(edges, some, "right")) for some in (usual, values))
    return population_stability(*binned)


def _groups(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A group for each user or item: tenths of the rows by activity; the last one: not seen."""
    order = np.argsort(-counts, kind="stable")
    mass = np.cumsum(counts[order]) / max(1, counts.sum())
    groups = np.empty(len(counts), dtype=np.int64)
    groups[order] = np.minimum((mass * _BINS).astype(np.int64), _BINS - 1)
    groups[counts == 0] = _BINS
    return groups
