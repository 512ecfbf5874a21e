"""Trending: what rises now, measured against what it usually has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Budget, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.common import RETRIEVAL_LOOP, RETRIEVAL_REWARD
from agenticrs.agents.retrieval.popularity import faded_shares
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange


class TrendingConfig(AgentConfig):
    """What now and usually mean."""

    now_days: float = Field(default=2.0, gt=0)
    """Age in days at which a positive counts half for what is liked now."""
    usual_days: float = Field(default=30.0, gt=0)
    """The same for what is usual."""
    momentum: float = Field(default=0.5, ge=0, le=1)
    """Share of the rise in the score; the rest is what is liked now."""


class Trending(Retriever[TrendingConfig]):
    """(1 - momentum) now + momentum max(0, now - usual), both as shares of all positives."""

    config_type = TrendingConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="trending",
        kind="model",
        role="retrieval",
        summary="Recommends what is rising, the same for everybody.",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="now_days", low=0.1, high=30.0, log=True),
                FloatRange(name="usual_days", low=3.0, high=365.0, log=True),
                FloatRange(name="momentum", low=0.0, high=1.0),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Count twice, with a short memory and with a long one."""
        super().fit(data, budget)
        now = faded_shares(data, self.config.now_days)
        usual = faded_shares(data, self.config.usual_days)
        rise = (now - usual).clamp(min=0.0)
        momentum = self.config.momentum
        # What does not rise keeps its order by what is usual.
        mixed = (1 - momentum) * now + momentum * rise + 1e-6 * usual
        self.scores = mixed.to(torch.float32)
        budget.report(1.0, "counted")

    def score(self, users: UserBatch) -> Tensor:
        """The same scores for everybody."""
        return self.scores.repeat(len(users), 1)

    def state(self) -> dict[str, Tensor]:
        """The scores."""
        return {"scores": self.scores.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the scores."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.scores = state["scores"].to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """One weight for each item."""
        return n_items
