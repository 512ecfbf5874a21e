"""Popularity: the items with the most positives, newer ones counting more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Budget, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.common import RETRIEVAL_LOOP, RETRIEVAL_REWARD
from agenticrs.agents.training_data import Events, TrainingData
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange

_SECONDS_PER_DAY = 86_400.0
_EARLIEST_CLOCK = 100_000_000
"""Timestamps below this (March 1973) are places in a history, not times of a clock."""


class PopularityConfig(AgentConfig):
    """How fast popularity fades."""

    half_life_days: float = Field(default=30.0, gt=0)
    """Age in days at which a positive counts half. Where a log knows only the order of events,
    one day stands for a hundredth of the user's history."""


class Popularity(Retriever[PopularityConfig]):
    """The same list for everybody, less what the user has had: the floor of every comparison."""

    config_type = PopularityConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="popularity",
        kind="model",
        role="retrieval",
        summary="Recommends what most people liked lately.",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        space=DecisionSpace(
            parameters=(FloatRange(name="half_life_days", low=0.5, high=365.0, log=True),)
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Count positives, each weighted by its age."""
        super().fit(data, budget)
        self.popularity = faded_shares(data, self.config.half_life_days).to(torch.float32)
        budget.report(1.0, "counted")

    def score(self, users: UserBatch) -> Tensor:
        """Each item's share of the weighted positives."""
        return self.popularity.repeat(len(users), 1)

    def state(self) -> dict[str, Tensor]:
        """The shares."""
        return {"popularity": self.popularity.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the shares."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.popularity = state["popularity"].to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """One weight for each item."""
        return n_items


def faded_shares(data: TrainingData, half_life_days: float) -> Tensor:
    """Each item's share of the positives, halved by every half-life, (n_items,) float64."""
    weight = torch.exp2(-_age_days(data.events) / half_life_days) * (data.events.label > 0.5)
    counts = torch.zeros(data.n_items, device=weight.device, dtype=torch.float64)
    counts.index_add_(0, data.events.item, weight)
    return counts / counts.sum().clamp(min=1e-30)


def _age_days(events: Events) -> Tensor:
    """How long before the log's end each event happened, (n,) float64, in days."""
    time = events.timestamp
    if not len(time):
        return time.to(torch.float64)
    if int(time.max()) >= _EARLIEST_CLOCK:
        return (time.max() - time).to(torch.float64) / _SECONDS_PER_DAY
    n_users = int(events.user.max()) + 1
    last = torch.zeros(n_users, dtype=torch.int64, device=time.device)
    last.scatter_reduce_(0, events.user, time, "amax")
    last = last[events.user]
    return 100.0 * (last - time).to(torch.float64) / last.clamp(min=1).to(torch.float64)
