"""Which parameters of a decision space matter, as far as the trials so far can tell.

For each parameter alone: the share of the variance of the rewards' ranks that lies between groups
of its values (the correlation ratio of Pearson, with Kelley's correction for the number of groups).
Numbers are grouped by quantiles. Beside it stands what chance would give: the 95th percentile of
the same share after shuffling the rewards. Few trials say little, and this is how it shows.

Rewards on different data do not compare: they are ranked within each snapshot and split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agenticrs.evolution.methods.points import flat
from agenticrs.registry.tables import TrialRow

LEAST = 10
"""Finished trials from which a share is worth saying."""
_GROUPS = 4
_SHUFFLES = 400
_CHANCE = 0.95
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Importance:
    """What a parameter explains alone, 0 to 1, and what chance would explain of it.

    ``best`` are the values of the best fifth of the trials, in words.
    """

    name: str
    share: float
    chance: float
    best: str

    @property
    def told_apart(self) -> bool:
        """Whether it is more than chance."""
        return self.share > self.chance


def importances(trials: Sequence[TrialRow], names: Sequence[str]) -> list[Importance]:
    """The parameters by what they explain, largest first.

    Trials that are not done, and parameters with one value or too few trials, are left out.
    """
    done = [t for t in trials if t.state == "done" and t.reward is not None]
    points = [flat(trial.config) for trial in done]
    found = [_importance(name, done, points) for name in names]
    return sorted((one for one in found if one is not None), key=lambda one: -one.share)


def _importance(
    name: str, trials: Sequence[TrialRow], points: Sequence[Mapping[str, Any]]
) -> Importance | None:
    rows = [i for i, point in enumerate(points) if point.get(name) is not None]
    if len(rows) < LEAST:
        return None
    values = [points[i][name] for i in rows]
    groups = grouped(values)
    if groups.max() == 0:
        return None
    ranks = _ranks([trials[i] for i in rows])
    # Seeded by nothing but the number of trials: the same page says the same twice.
    shuffles = np.random.default_rng(len(rows)).permuted(np.tile(ranks, (_SHUFFLES, 1)), axis=1)
    return Importance(
        name,
        float(explained(ranks[None, :], groups)[0]),
        float(np.quantile(explained(shuffles, groups), _CHANCE)),
        _best(values, ranks),
    )


def grouped(values: Sequence[Any]) -> IntArray:
    """Number of the group of each value: its quarter by size, or its own for what is no number."""
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        known = sorted({str(value) for value in values})
        return np.array([known.index(str(value)) for value in values], dtype=np.int64)
    numbers = np.array(values, dtype=np.float64)
    known_numbers = np.unique(numbers)
    if len(known_numbers) <= _GROUPS:
        return np.searchsorted(known_numbers, numbers).astype(np.int64)
    cuts = np.quantile(numbers, np.arange(1, _GROUPS) / _GROUPS)
    labels = np.searchsorted(np.unique(cuts), numbers, side="right")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def explained(ranks: FloatArray, groups: IntArray) -> FloatArray:
    """Share of the variance of each row of ``ranks`` (S, n) that lies between groups (n,), (S,).

    Kelley's correction takes out what as many groups explain on average by chance; it ends at 0.
    """
    n, k = ranks.shape[1], int(groups.max()) + 1
    members = np.eye(k)[groups]
    means = ranks @ members / members.sum(0)
    total = ((ranks - ranks.mean(1, keepdims=True)) ** 2).sum(1)
    within = ((ranks - means[:, groups]) ** 2).sum(1)
    spoilt = (total <= 0) | (n <= k)
    share = 1 - within / np.where(spoilt, 1.0, total) * (n - 1) / max(n - k, 1)
    return np.where(spoilt, 0.0, np.maximum(share, 0.0))


def _ranks(trials: Sequence[TrialRow]) -> FloatArray:
    """Ranks of the rewards within their snapshot and split, from 0 to 1."""
    places: dict[tuple[str, str], list[int]] = {}
    for i, trial in enumerate(trials):
        places.setdefault((trial.fingerprint, trial.split), []).append(i)
    ranks = np.full(len(trials), 0.5)
    for rows in places.values():
        if len(rows) > 1:
            order = np.argsort(np.argsort([trials[i].reward or 0.0 for i in rows], kind="stable"))
            ranks[rows] = order / (len(rows) - 1)
    return ranks


def _best(values: Sequence[Any], ranks: FloatArray) -> str:
    top = np.argsort(-ranks, kind="stable")[: max(3, len(values) // 5)]
    chosen = [values[int(i)] for i in top]
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in chosen):
        low, high = min(chosen), max(chosen)
        return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    return ", ".join(dict.fromkeys(str(value) for value in chosen))
