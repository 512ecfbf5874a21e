"""Routes users by segment: how active they are beside all users of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import Agent, AgentConfig, Budget
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.routing.common import ROUTING_LOOP, ROUTING_REWARD
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange


class ActivityRouterConfig(AgentConfig):
    """Where the segments end, as shares of all users."""

    light: float = Field(default=0.6, gt=0, lt=1)
    """Share of users who count as light."""
    heavy: float = Field(default=0.25, gt=0, lt=1)
    """Share of the others who count as heavy."""


class ActivityRouter(Agent[ActivityRouterConfig]):
    """light, heavy or medium, by the length of the history beside quantiles of the log's.

    With the defaults the tiers end at the 60th and the 90th percentile, as in Agent4Rec (Zhang et
    al. 2024, SIGIR). A user without a history is light.
    """

    config_type = ActivityRouterConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="activity_router",
        kind="model",
        role="routing",
        summary="Sends light, medium and heavy users down paths of their own.",
        paper="Zhang et al. 2024, On generative agents in recommendation (its activity tiers)",
        loop=ROUTING_LOOP,
        inner_reward=ROUTING_REWARD,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="light", low=0.1, high=0.9),
                FloatRange(name="heavy", low=0.1, high=0.9),
            )
        ),
        outer_weight=0.5,
        on_request=True,
        segments=("light", "heavy", "medium"),
    )
    cuts: Tensor
    """(2,) float32: light users have at most cuts[0] items, heavy ones more than cuts[1]."""

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Take the quantiles of the lengths of histories."""
        super().fit(data, budget)
        light = self.config.light
        at = torch.tensor([light, 1 - (1 - light) * self.config.heavy], device=self.device)
        lengths = data.histories.lengths.to(torch.float32)
        self.cuts = torch.quantile(lengths, at) if len(lengths) else torch.zeros(2)

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        """0 (light), 1 (heavy) or 2 (medium) for each user."""
        lengths = users.lengths
        light, heavy = lengths <= self.cuts[0], lengths > self.cuts[1]
        return Route(torch.where(light, 0, torch.where(heavy, 1, 2)))

    def state(self) -> dict[str, Tensor]:
        """The two cuts."""
        return {"cuts": self.cuts.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the cuts."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.cuts = state["cuts"].to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """Two numbers."""
        return 2
