"""Fair exposure: a least share for items of the long tail at every length of the list.

The constraint is that of FA*IR (Zehlike et al. 2017) without its significance test: among the first
n items at least floor(share * n) are protected, picked greedily (Geyik et al. 2019, DetGreedy).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.reranking.greedy import (
    RERANKING_LOOP,
    GreedyConfig,
    GreedyReranker,
    Pool,
    descending,
    rows_of,
)
from agenticrs.agents.retrieval.common import item_counts
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import (
    AgentSpec,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
)


class FairnessConfig(GreedyConfig):
    """Who is protected, and how much they get."""

    share: float = Field(default=0.3, ge=0, le=1)
    """Least share of protected items among the first n, for every n."""
    head_share: float = Field(default=0.8, gt=0, lt=1)
    """The most popular items that have this share of all positives are the head; the rest is
    protected."""


class Fairness(GreedyReranker[FairnessConfig]):
    """Keeps the order by relevance, and brings protected items forward where they are missing."""

    config_type = FairnessConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="fairness",
        kind="functional",
        role="reranking",
        summary="Re-ranks so that items of the long tail get their share of the places.",
        paper="Zehlike et al. 2017, FA*IR; Geyik et al. 2019, Fairness-aware ranking",
        loop=RERANKING_LOOP,
        inner_reward=InnerReward(metric="relevance_novelty", k=10),
        on_request=True,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="share", low=0.0, high=0.8),
                FloatRange(name="head_share", low=0.5, high=0.95),
                IntRange(name="depth", low=10, high=100, log=True),
            )
        ),
        outer_weight=0.5,
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Find the long tail."""
        super().fit(data, budget)
        counts = item_counts(data.histories, self.n_items)
        order = counts.argsort(descending=True, stable=True)
        before = counts[order].cumsum(0) - counts[order]
        self.protected = torch.zeros_like(counts, dtype=torch.bool)
        self.protected[order] = before >= self.config.head_share * counts.sum()
        budget.report(1.0, "counted")

    def _pick(self, pool: Pool, users: UserBatch, count: int) -> Candidates:
        own = rows_of(self.protected, pool.candidates.items).to(torch.bool)
        row = torch.arange(len(own), device=own.device)
        had = torch.zeros(len(own), device=own.device)
        items = []
        for step in range(count):
            owed = torch.tensor(self.config.share * (step + 1)).floor() - had > 0
            open_ = own & ~pool.taken
            forced = (owed & open_.any(1))[:, None]
            value = torch.where(forced & ~own, pool.relevance - 2.0, pool.relevance)
            place, item, _ = pool.take(value)
            items.append(item)
            had = had + (own[row, place] & (item >= 0))
        return descending(items)

    def state(self) -> dict[str, Tensor]:
        """Who is protected."""
        return {"protected": self.protected.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over who is protected."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.protected = state["protected"].to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """One flag for each item."""
        return n_items
