"""ItemKNN: votes of each history item for its nearest neighbours (Deshpande & Karypis 2004)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Budget, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.common import (
    RETRIEVAL_LOOP,
    RETRIEVAL_REWARD,
    item_counts,
    recency_weights,
    tie_breaker,
    within_limit,
)
from agenticrs.agents.retrieval.gram import binary_pairs, gram_rows
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange

_CELLS_AT_ONCE = 32_000_000


class ItemKNNConfig(AgentConfig):
    """Which items are near, and how history items vote."""

    neighbours: int = Field(default=100, ge=1)
    """How many nearest items each item votes for."""
    shrinkage: float = Field(default=20.0, ge=0)
    """Added to the denominator: takes weight from similarities with little support."""
    exponent: float = Field(default=0.5, ge=0, le=1)
    """Power of both items' counts in the denominator; 0.5 is the cosine, 0 plain co-occurrence."""
    half_life: float = Field(default=10.0, gt=0)
    """Entries of a user's history after which a vote weighs half."""


class ItemKNN(Retriever[ItemKNNConfig]):
    """Similarity s(j, i) = G_ji / ((G_jj G_ii)^exponent + shrinkage), G = X^T X.

    A user's score of i is the sum of s(j, i) over history items j that have i among their
    ``neighbours`` nearest, weighted by recency. Memory: n_items * neighbours * 12 bytes.
    """

    chunk: ClassVar[int] = 256
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

    def score(self, users: UserBatch) -> Tensor:
        """Sum the votes; items without a vote follow in order of popularity."""
        votes = self.similarity[users.items]
        votes = votes * recency_weights(users, self.config.half_life)[:, None]
        cells = users.rows[:, None] * self.n_items + self.near[users.items]
        scores = self.prior.repeat(len(users))
        scores.index_add_(0, cells.view(-1), votes.view(-1))
        return scores.view(len(users), self.n_items)

    def state(self) -> dict[str, Tensor]:
        """Neighbours, their similarities, and popularity as a tie-breaker."""
        return {
            "near": self.near.to("cpu", torch.int32),
            "similarity": self.similarity.cpu(),
            "prior": self.prior.cpu(),
        }

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the neighbours."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.near = state["near"].to(self.device, torch.int64)
        self.similarity = state["similarity"].to(self.device)
        self.prior = state["prior"].to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """An index and a similarity for each neighbour of each item."""
        k = min(cast(ItemKNNConfig, config).neighbours, n_items)
        return within_limit("itemknn", (2 * k + 1) * n_items)
