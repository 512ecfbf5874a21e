"""Whether the world has moved since the champion learnt: newest rows against its training window.

Rows of a log depend on each other (a user's, an hour's), and new users and items arrive all the
time, so tests that count rows as independent cry wolf. Here the window itself says how much it
varies: each of its blocks of consecutive rows is compared with rows before it, as the newest rows
are with the end of the window, at the same distance (the longer ago, the more unlike), and the
alarm is raised when the newest stand out. As long as the platform goes on as it did, the newest
block is as likely as any other to be the most unlike, so at most a share ``alpha`` of looks raises
a false alarm (a rank test, as in conformal prediction; Vovk et al. 2005). Four signals look for
different changes; the rank of their largest deviation decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agenticrs.platform.data.dataset import Dataset

Floats = npt.NDArray[np.floating[Any]]
BLOCKS = 39
"""Blocks of the window: with the newest one forty ranks, the least p value is 1/40."""
BEFORE = 10
"""What a block is compared with: so many blocks' rows before it."""
LEAST_ROWS = 50
"""Rows of a block below which its shares are noise."""
_BINS = 10
_SMALL = 1e-4


@dataclass(frozen=True)
class Signal:
    """One kind of change: its index, and what is usual for a block of the window."""

    name: str
    value: float
    usual: float
    """Mean over the window's blocks."""
    deviation: float
    """(value - usual) in standard deviations of the blocks."""


@dataclass(frozen=True)
class Drift:
    """What was found; ``p_value`` of the largest deviation of all signals."""

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
    measured = np.array([list(look.values()) for look in looks]).T  # (signals, BLOCKS + 1)
    usual = measured[:, :-1]
    deviations = _standard(measured, usual)
    # For the rank all count alike: measured by the others alone, the newest would stand out.
    largest = _standard(measured, measured).max(0)
    p_value = float((1 + (largest[:-1] >= largest[-1]).sum()) / (1 + BLOCKS))
    signals = tuple(
        Signal(name, float(row[-1]), float(mean), float(deviation))
        for name, row, mean, deviation in zip(
            looks[0], measured, usual.mean(1), deviations[:, -1], strict=True
        )
    )
    return Drift(signals, p_value, size)


def _standard(measured: Floats, usual: Floats) -> Floats:
    """Deviations from the mean of each row of ``usual`` in its standard deviations."""
    mean, spread = usual.mean(1, keepdims=True), usual.std(1, keepdims=True)
    return np.asarray((measured - mean) / (spread + 1e-9))


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
    """How unlike the rows [start, start + size) are those just before ``end``, by signal."""
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
    found["reward"] = abs(
        float((taken[rows] >= least).mean()) - float((taken[base] >= least).mean())
    )
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
