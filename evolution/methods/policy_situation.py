"""What a policy sees: the data, what is wanted, what may be spent, and what was found so far.

All of it is a short vector of numbers of about size one, the same for every agent and dataset, so
that what was learnt on one dataset says something about the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from agenticrs.platform.data.dataset import Dataset
from agenticrs.rewards.objectives import OBJECTIVES, Objective

_NEW_SHARE = 0.1
"""The last tenth of the log's time: an item that first appears in it is new."""


@dataclass(frozen=True)
class Situation:
    """An agent's turn in a cycle as its policy finds it when it begins.

    Counts are at least 0; ``popularity_gini``, ``new_items`` and ``outer_weight`` lie in [0, 1].
    Raises ValueError for numbers that are not finite or negative.
    """

    users: float
    items: float
    interactions: float
    median_history: float
    """Interactions of the user in the middle."""
    popularity_gini: float
    """Concentration of the interactions over items: 0 = equal."""
    new_items: float
    """Share of the items that first appear in the last tenth of the log's time."""
    outer_weight: float
    """Weight of the outer reward in the score."""
    trials: int
    """Candidates that the turn may try."""
    seconds: float
    """Trial seconds that the turn may spend."""
    objectives: Mapping[Objective, float] = field(default_factory=dict)
    """Shares of the business objectives in the outer reward, which sum to 1; none: all alike."""

    def __post_init__(self) -> None:
        """Refuse what would spoil the weights for good."""
        for name, value in (*vars(self).items(), *self.objectives.items()):
            if name != "objectives" and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number of at least 0, got {value}")

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        outer_weight: float,
        trials: int,
        seconds: float,
        objectives: Mapping[Objective, float] | None = None,
    ) -> Self:
        """Measured on a snapshot's log."""
        log = dataset.interactions
        by_user = np.bincount(log.user, minlength=dataset.n_users)
        by_item = np.sort(np.bincount(log.item, minlength=dataset.n_items)).astype(np.float64)
        n, total = len(by_item), by_item.sum()
        rank = np.arange(1, n + 1)
        gini = float(((2 * rank - n - 1) * by_item).sum() / (n * total)) if total else 0.0
        return cls(
            users=dataset.n_users,
            items=dataset.n_items,
            interactions=len(log),
            median_history=float(np.median(by_user)) if len(by_user) else 0.0,
            popularity_gini=gini,
            new_items=_new_items(dataset),
            outer_weight=outer_weight,
            trials=trials,
            seconds=seconds,
            objectives=objectives or {},
        )

    def vector(self) -> tuple[float, ...]:
        """The numbers as the networks see them: counts as logarithms, all of about size one."""
        pairs = max(self.users * self.items, 1.0)
        alike = 1 / len(OBJECTIVES)
        shares = self.objectives or dict.fromkeys(OBJECTIVES, alike)
        return (
            (_log10(self.users) - 4) / 2,
            (_log10(self.items) - 4) / 2,
            (_log10(self.interactions) - 6) / 2,
            (_log10(self.interactions / pairs * 1e6) - 3) / 2,
            (_log10(self.interactions / max(self.users, 1.0)) - 1.5),
            (_log10(self.median_history) - 1.5),
            2 * self.popularity_gini - 1,
            2 * self.new_items - 1,
            2 * self.outer_weight - 1,
            (_log10(self.trials) - 1.5),
            (_log10(self.seconds) - 3) / 2,
            *(2 * (shares.get(name, 0.0) - alike) for name in OBJECTIVES),
        )


SITUATION_WIDTH = 11 + len(OBJECTIVES)
HISTORY_WIDTH = 5


def history(rewards: Sequence[float], tried: int, trials: int, spent: float) -> tuple[float, ...]:
    """The search so far, in numbers of about size one.

    ``rewards`` are those known by now, in order; ``tried`` counts candidates, open ones too, of the
    ``trials`` that there may be; ``spent`` is the share of the seconds that is gone. Saturation is
    how long ago the best was found; the lead is how far it is above the middle, in spreads.
    """
    if not rewards:
        return (min(tried / max(trials, 1), 1.0), 0.0, 0.0, 0.0, min(spent, 1.0))
    known = np.asarray(rewards, dtype=np.float64)
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    best = int(known.argmax())
    lead = (known[best] - middle) / max(high - low, 1e-6 * abs(middle), 1e-12)
    return (
        min(tried / max(trials, 1), 1.0),
        math.log10(1 + len(known)) / 2,
        (len(known) - 1 - best) / len(known),
        math.tanh(float(lead) / 3) if len(known) > 2 else 0.0,
        min(spent, 1.0),
    )


def _log10(number: float) -> float:
    return math.log10(1 + number)


def _new_items(dataset: Dataset) -> float:
    log = dataset.interactions
    if not len(log) or not dataset.has_times:
        return 0.0
    first = np.full(dataset.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, log.item, log.timestamp)
    cut = np.quantile(log.timestamp, 1 - _NEW_SHARE)
    present = first < np.iinfo(np.int64).max
    return float((first[present] > cut).mean())
