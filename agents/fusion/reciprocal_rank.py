"""Reciprocal-rank fusion of several lists (Cormack, Clarke & Buettcher 2009), with weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import (
    AgentSpec,
    ClosedLoop,
    DecisionSpace,
    InnerReward,
    IntRange,
    PerInput,
    Port,
)


class ReciprocalRankFusionConfig(AgentConfig):
    """How ranks become votes, and whose votes count how much."""

    k: int = Field(default=60, ge=1)
    """Added to every rank: the larger, the flatter the votes. 60 is the paper's."""
    depth: int = Field(default=100, ge=1)
    """How many items of each list vote."""
    weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weight of each input by the name of its agent, 1 where not given. 0 drops the input."""


class ReciprocalRankFusion(Agent[ReciprocalRankFusionConfig]):
    """score(i) = sum over inputs s of w_s / (k + rank_s(i)); scores of the inputs are not used.

    Items with equal votes stay in the order of the inputs. Learns nothing.
    """

    config_type = ReciprocalRankFusionConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="rrf",
        kind="functional",
        role="fusion",
        summary="Fuses lists by weighted votes for their ranks.",
        paper="Cormack, Clarke & Buettcher 2009, Reciprocal rank fusion outperforms Condorcet",
        loop=ClosedLoop(
            inputs=(Port.CANDIDATES,),
            variadic=True,
            output=Port.CANDIDATES,
            executor="the runtime hands the fused list to the next agent, or shows it",
            feedback="click",
        ),
        inner_reward=InnerReward(metric="ndcg", k=10),
        space=DecisionSpace(
            parameters=(
                IntRange(name="k", low=1, high=200, log=True),
                PerInput(name="weights", low=0.0, high=1.0),
            )
        ),
        outer_weight=0.5,
    )
    _names: tuple[str, ...] = ()

    def input_names(self, names: Sequence[str]) -> None:
        """Remember whose lists come in, to find their weights."""
        self._names = tuple(names)

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The k items with the most votes; AgentError when no input has a weight."""
        depth = self.config.depth
        voting = [
            (weight, source.items[:, :depth])
            for weight, source in zip(self._weights(len(inputs)), inputs, strict=True)
            if weight > 0
        ]
        if not voting:
            raise AgentError("rrf: every input has weight 0", hint="give one a positive weight")
        items = torch.cat([source for _, source in voting], 1)
        votes = torch.cat([self._votes(weight, source) for weight, source in voting], 1)
        total = _sum_by_item(items, votes).masked_fill(items < 0, -torch.inf)
        best = total.sort(dim=1, descending=True, stable=True)
        fused = Candidates(items.gather(1, best.indices), best.values).top(k)
        return Candidates(fused.items.masked_fill(torch.isneginf(fused.scores), -1), fused.scores)

    def _weights(self, count: int) -> list[float]:
        if self._names and len(self._names) != count:
            raise AgentError(f"rrf was told of {len(self._names)} inputs and got {count}")
        names = self._names or ("",) * count
        return [self.config.weights.get(name, 1.0) for name in names]

    def _votes(self, weight: float, items: Tensor) -> Tensor:
        rank = torch.arange(1, items.shape[1] + 1, device=items.device)
        return (weight / (self.config.k + rank)).masked_fill(items < 0, 0.0)


def _sum_by_item(items: Tensor, votes: Tensor) -> Tensor:
    """The sum of a row's votes for each item, where the item first stands, else -inf; (B, M)."""
    order = items.argsort(dim=1, stable=True)
    ordered = items.gather(1, order)
    first = torch.ones_like(items, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = first.cumsum(1) - 1
    sums = torch.zeros_like(votes).scatter_add_(1, group, votes.gather(1, order))
    sums = sums.gather(1, group).masked_fill(~first, -torch.inf)
    return torch.empty_like(votes).scatter_(1, order, sums)
