"""Co-occurrence in windows of time: what people take soon after one another.

Counts as in item-to-item collaborative filtering (Linden et al. 2003), but only of items that lie
close together in one history, and with a direction: what came after counts more than what before.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.retrieval.common import (
    RETRIEVAL_LOOP,
    RETRIEVAL_REWARD,
    item_counts,
    tie_breaker,
)
from agenticrs.agents.retrieval.neighbours import NeighbourConfig, NeighbourRetriever
from agenticrs.agents.top_k import top_k_of_pairs
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange

_SECONDS_PER_HOUR = 3600.0


class CooccurrenceConfig(NeighbourConfig):
    """What counts as close, and how counts become similarities."""

    half_life: float = Field(default=3.0, gt=0)
    reach: int = Field(default=10, ge=1, le=100)
    """How many entries apart two items of a history may lie; a pair weighs 1 / distance."""
    window_hours: float = Field(default=1e6, gt=0)
    """How long apart in time they may lie."""
    backward: float = Field(default=0.5, ge=0, le=1)
    """Weight of a pair for the direction against time."""
    exponent: float = Field(default=0.4, ge=0, le=1)
    """Power of both items' counts in the denominator."""
    shrinkage: float = Field(default=5.0, ge=0)
    """Added to the denominator."""


class Cooccurrence(NeighbourRetriever[CooccurrenceConfig]):
    """s(j, i) = c_ji / ((n_j n_i)^exponent + shrinkage), c the weighted count of i close to j."""

    config_type = CooccurrenceConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="cooccurrence",
        kind="model",
        role="retrieval",
        summary="Recommends what others took soon after what the user had.",
        paper="Linden et al. 2003, Amazon.com recommendations",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            parameters=(
                IntRange(name="reach", low=1, high=50, log=True),
                FloatRange(name="window_hours", low=1.0, high=1e6, log=True),
                FloatRange(name="backward", low=0.0, high=1.0),
                FloatRange(name="exponent", low=0.1, high=0.9),
                FloatRange(name="shrinkage", low=0.1, high=100.0, log=True),
                FloatRange(name="half_life", low=0.5, high=50.0, log=True),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Count pairs distance by distance over the flat histories."""
        super().fit(data, budget)
        config = self.config
        items, rows = data.histories.items, data.histories.rows
        times = data.events.timestamp[data.events.label > 0.5]
        apart_at_most = config.window_hours * _SECONDS_PER_HOUR
        keys, weights = [items.new_zeros(0)], [self._weights(0)]
        for apart in range(1, min(config.reach, len(items) - 1) + 1):
            early, late = items[:-apart], items[apart:]
            close = rows[:-apart] == rows[apart:]
            close &= (times[apart:] - times[:-apart]) <= apart_at_most
            close &= early != late
            early, late = early[close], late[close]
            keys += [early * self.n_items + late, late * self.n_items + early]
            weights.append(self._weights(len(early), 1.0 / apart))
            weights.append(self._weights(len(early), config.backward / apart))
            pairs, place = torch.unique(torch.cat(keys), return_inverse=True)
            keys = [pairs]
            weights = [self._weights(len(pairs)).index_add_(0, place, torch.cat(weights))]
            budget.report(apart / config.reach, f"{apart} apart")
        left, right = keys[0] // self.n_items, keys[0] % self.n_items
        counts = item_counts(data.histories, self.n_items)
        scale = (counts[left] * counts[right]) ** config.exponent + config.shrinkage
        k = min(config.neighbours, self.n_items)
        self.similarity, self.near = top_k_of_pairs(
            left, right, weights[0] / scale, self.n_items, k, empty=0.0
        )
        self.prior = tie_breaker(counts)

    def _weights(self, n: int, value: float = 0.0) -> Tensor:
        return torch.full((n,), value, device=self.device)
