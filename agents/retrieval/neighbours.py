"""Retrievers in which each item votes for a few others: how they score, and what they keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeVar, cast

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.common import recency_weights, within_limit


class NeighbourConfig(AgentConfig):
    """How many items an item votes for, and how history items vote."""

    neighbours: int = Field(default=100, ge=1)
    """How many nearest items each item votes for."""
    half_life: float = Field(default=10.0, gt=0)
    """Entries of a user's history after which a vote weighs half."""


ConfigT = TypeVar("ConfigT", bound=NeighbourConfig)


class NeighbourRetriever(Retriever[ConfigT]):
    """A user's score of i is the sum of the votes for i of the history's items.

    ``fit`` of a subclass sets ``near`` (n_items, K) int64, ``similarity`` (n_items, K), 0 where
    there is no vote, and ``prior`` (n_items,). Memory: n_items * K * 12 bytes.
    """

    chunk: ClassVar[int] = 256
    near: Tensor
    similarity: Tensor
    prior: Tensor

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
        k = min(cast(NeighbourConfig, config).neighbours, n_items)
        return within_limit(cls.spec.name, (2 * k + 1) * n_items)
