"""What a log says about one event: how much was watched or how it was rated, and the reactions.

One measure leads: the watch ratio where seconds and durations are known, else the rating, else
whether the row is a positive. It is cut into levels, so that one model serves all three: the chance
of each level, and where inside of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from agenticrs.agents.training_data import tensor
from agenticrs.platform.data.dataset import Dataset, Interactions, Positive
from agenticrs.platform.errors import DataError

Measure = Literal["watch_ratio", "rating", "positive"]
_REACTIONS = ("click", "long_view", "like", "follow", "comment", "forward", "hate")
_GLAD = ("like", "follow", "comment", "forward")
_LEVELS = 16
_MOST_GRADES = 20
_STEPS = 33


@dataclass(frozen=True)
class Signals:
    """What is known of an event in this log, and how its measure is cut into levels.

    ``edges`` (L - 1,): a value lies in the level that counts the edges not above it.
    ``within`` (L, Q): evenly spaced quantiles of the values of each level. ``shown`` says whether
    the log holds what was shown and not taken; ``timed`` whether it knows days.
    """

    measure: Measure
    reactions: tuple[str, ...]
    positive: Positive
    shown: bool
    timed: bool
    edges: Tensor
    within: Tensor

    @staticmethod
    def of(dataset: Dataset) -> Signals:
        """Look at what the log holds. Raises DataError when there are no rows."""
        rows = dataset.interactions
        if not len(rows):
            raise DataError("a log without rows has no users to simulate")
        measure = _measure(rows)
        edges, within = _levels(_values(rows, measure, dataset), measure)
        return Signals(
            measure=measure,
            reactions=tuple(
                name
                for name in _REACTIONS
                if name in rows.behaviours and 0 < float((rows.behaviours[name] > 0).mean()) < 1
            ),
            positive=dataset.positive,
            shown=not bool(dataset.is_positive(rows).all()),
            timed=dataset.has_times,
            edges=edges,
            within=within,
        )

    @property
    def n_levels(self) -> int:
        """How many levels there are."""
        return len(self.within)

    @property
    def low(self) -> float:
        """The smallest value of the measure."""
        return float(self.within.min())

    @property
    def high(self) -> float:
        """The largest value of the measure."""
        return float(self.within.max())

    def amounts(self, dataset: Dataset, rows: Interactions) -> Tensor:
        """The measure of each row, (n,) float32; NaN where it is not known."""
        return torch.from_numpy(_values(rows, self.measure, dataset))

    def reacted(self, rows: Interactions) -> Tensor:
        """Which reactions each row has, (n, R) of 0 and 1."""
        columns = [
            tensor(rows.behaviours[name] > 0, "cpu", torch.float32) for name in self.reactions
        ]
        return torch.stack(columns, 1) if columns else torch.zeros(len(rows), 0)

    def level(self, amounts: Tensor) -> Tensor:
        """The level of each value, int64; -1 where it is not known."""
        found = torch.searchsorted(self.edges, amounts.contiguous(), right=True)
        return torch.where(amounts.isnan(), -1, found)

    def amount(self, level: Tensor, where: Tensor) -> Tensor:
        """Values of the measure: ``where`` in (0, 1) says at which place inside the level."""
        steps = self.within.shape[1] - 1
        if not steps:
            return self.within[level, 0]
        at = where * steps
        below = at.to(torch.int64).clamp(max=steps - 1)
        low, high = self.within[level, below], self.within[level, below + 1]
        return low + (high - low) * (at - below)

    def satisfaction(self, amounts: Tensor, reactions: Tensor) -> Tensor:
        """How content an event leaves its user, (n,) in [0, 1]. A choice, not measured.

        The rating on its scale, or the share that was watched (1 at most); 1 after a like, follow,
        comment or forward, 0 after a hate.
        """
        if self.measure == "rating":
            content = (amounts - self.low) / max(self.high - self.low, 1e-6)
        else:
            content = amounts
        content = content.nan_to_num(0.0).clamp(0.0, 1.0)
        for place, name in enumerate(self.reactions):
            if name in _GLAD:
                content = torch.where(reactions[..., place] > 0, 1.0, content)
        for place, name in enumerate(self.reactions):
            if name == "hate":
                content = torch.where(reactions[..., place] > 0, 0.0, content)
        return content

    def is_positive(self, amounts: Tensor, reactions: Tensor, seconds: Tensor) -> Tensor:
        """Which events count as positives of the log, (n,) bool."""
        name, minimum = self.positive.behaviour, self.positive.minimum
        if name in self.reactions:
            return reactions[..., self.reactions.index(name)] >= minimum
        if name == "watch_time":
            return seconds >= minimum
        if name == "rating" or self.measure == "positive":
            return amounts >= min(minimum, self.high)
        return torch.ones_like(amounts, dtype=torch.bool)


def _measure(rows: Interactions) -> Measure:
    if {"watch_time", "duration"} <= set(rows.behaviours) and rows.behaviours["duration"].any():
        return "watch_ratio"
    return "rating" if "rating" in rows.behaviours else "positive"


def _values(rows: Interactions, measure: Measure, dataset: Dataset) -> np.ndarray:
    if measure == "watch_ratio":
        duration = rows.behaviours["duration"]
        ratio = rows.behaviours["watch_time"] / np.maximum(duration, 1e-3)
        return np.where(duration > 0, ratio, np.nan).astype(np.float32)
    if measure == "rating":
        return np.array(rows.behaviours["rating"], dtype=np.float32)
    return dataset.is_positive(rows).astype(np.float32)


def _levels(values: np.ndarray, measure: Measure) -> tuple[Tensor, Tensor]:
    """Edges (L - 1,) and quantiles inside of each level (L, Q)."""
    known = values[np.isfinite(values)]
    grades = np.unique(known)
    if len(grades) <= _MOST_GRADES:
        edges = (grades[1:] + grades[:-1]) / 2
        return torch.from_numpy(edges), torch.from_numpy(grades[:, None].copy())
    if measure == "rating":
        edges = np.quantile(known, np.linspace(0, 1, _LEVELS + 1)[1:-1])
    else:  # what was skipped at once is a level of its own
        begun = known[known > 0]
        edges = np.quantile(begun, np.linspace(0, 1, _LEVELS)[:-1])
    edges = np.unique(edges.astype(np.float32))
    level = np.searchsorted(edges, known, side="right")
    steps = np.linspace(0, 1, _STEPS)
    within = [np.quantile(known[level == place], steps) for place in np.unique(level)]
    # A level that nobody is in would have no values: its edge goes.
    kept = edges[np.unique(level)[1:] - 1]
    return torch.from_numpy(kept), torch.from_numpy(np.stack(within).astype(np.float32))
