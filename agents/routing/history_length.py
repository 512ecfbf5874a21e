"""Routes users by how much is known of them: a threshold on the length of the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.routing.common import ROUTING_LOOP, ROUTING_REWARD
from agenticrs.registry.spec import AgentSpec, DecisionSpace, IntRange


class HistoryLengthRouterConfig(AgentConfig):
    """Where cold ends."""

    threshold: int = Field(default=5, ge=1)
    """Users with fewer items in their history are cold."""


class HistoryLengthRouter(Agent[HistoryLengthRouterConfig]):
    """cold when the history has fewer than ``threshold`` items, else warm. Learns nothing."""

    config_type = HistoryLengthRouterConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="history_router",
        kind="functional",
        role="routing",
        summary="Sends users with a short history down another path than the rest.",
        loop=ROUTING_LOOP,
        inner_reward=ROUTING_REWARD,
        space=DecisionSpace(parameters=(IntRange(name="threshold", low=1, high=50),)),
        outer_weight=0.5,
        segments=("cold", "warm"),
    )

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        """0 (cold) or 1 (warm) for each user."""
        return Route((users.lengths >= self.config.threshold).to(torch.int64))
