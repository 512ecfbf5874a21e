"""ItemKNN: votes of each history item for its nearest neighbours (Deshpande & Karypis 2004)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from agenticrs.agents.agent import Budget
from agenticrs.agents.retrieval.common import (
    RETRIEVAL_LOOP,
    RETRIEVAL_REWARD,
    item_counts,
    tie_breaker,
)
from agenticrs.agents.retrieval.gram import binary_pairs, gram_rows
from agenticrs.agents.retrieval.neighbours import NeighbourConfig, NeighbourRetriever
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange

_CELLS_AT_ONCE = 32_000_000


class ItemKNNConfig(NeighbourConfig):
    """Which items are near, and how history items vote."""

    shrinkage: float = Field(default=20.0, ge=0)
    """Added to the denominator: takes weight from similarities with little support."""
    exponent: float = Field(default=0.5, ge=0, le=1)
    """Power of both items' counts in the denominator; 0.5 is the cosine, 0 plain co-occurrence."""


class ItemKNN(NeighbourRetriever[ItemKNNConfig]):
    """Similarity s(j, i) = G_ji / ((G_jj G_ii)^exponent + shrinkage), G = X^T X."""

    config_type = ItemKNNConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="itemknn",
        kind="model",
        role="retrieval",
        summary="Recommends the nearest neighbours of what the user had, by co-occurrence.",
        paper="Deshpande & Karypis 2004, Item-based top-N recommendation algorithms",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        space=DecisionSpace(
            parameters=(
                IntRange(name="neighbours", low=10, high=400, log=True),
                FloatRange(name="shrinkage", low=0.1, high=200.0, log=True),
                FloatRange(name="exponent", low=0.1, high=0.9),
                FloatRange(name="half_life", low=2.0, high=500.0, log=True),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Compute the similarities block by block and keep each item's nearest."""
        super().fit(data, budget)
        distinct = binary_pairs(data.histories, self.n_items)
        counts = item_counts(distinct, self.n_items)
        scale = counts**self.config.exponent
        k = min(self.config.neighbours, self.n_items)
        rows_at_once = max(1, _CELLS_AT_ONCE // self.n_items)
        near, similarity = [], []
        for start in range(0, self.n_items, rows_at_once):
            stop = min(start + rows_at_once, self.n_items)
            block = gram_rows(distinct, self.n_items, start, stop)
            block /= (scale[start:stop, None] * scale + self.config.shrinkage).clamp(min=1e-12)
            block[torch.arange(stop - start), torch.arange(start, stop)] = 0.0
            best = block.topk(k, dim=1)
            near.append(best.indices)
            similarity.append(best.values)
            budget.report(stop / self.n_items, f"items {stop} of {self.n_items}")
        self.near = torch.cat(near)
        self.similarity = torch.cat(similarity)
        self.prior = tie_breaker(item_counts(data.histories, self.n_items))
