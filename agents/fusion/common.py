"""What fusion agents share: their closed loop, and the names by which they know their inputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.fusion.union import Union
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, ClosedLoop, InnerReward, Port

FUSION_LOOP = ClosedLoop(
    inputs=(Port.CANDIDATES,),
    variadic=True,
    output=Port.CANDIDATES,
    executor="the runtime hands the fused list to the next agent, or shows it",
    feedback="click",
)
FUSION_REWARD = InnerReward(metric="ndcg", k=10)


class InputNames:
    """Remembers whose lists come in."""

    spec: ClassVar[AgentSpec]
    _names: tuple[str, ...] = ()

    def input_names(self, names: Sequence[str]) -> None:
        """Remember the names of the agents that feed ``act``, in order."""
        self._names = tuple(names)

    def names_of(self, inputs: Sequence[Candidates]) -> tuple[str, ...]:
        """A name for each input, "" when none were given; AgentError when they are not as many."""
        if self._names and len(self._names) != len(inputs):
            raise AgentError(
                f"{self.spec.name} was told of {len(self._names)} inputs and got {len(inputs)}"
            )
        return self._names or ("",) * len(inputs)


class WeightedFusionConfig(AgentConfig):
    """Whose votes count how much."""

    depth: int = Field(default=100, ge=1)
    """How many items of each list vote."""
    weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weight of each input by the name of its agent, 1 where not given. 0 drops the input."""


ConfigT = TypeVar("ConfigT", bound=WeightedFusionConfig)


class WeightedFusion(InputNames, Agent[ConfigT]):
    """score(i) = sum over inputs s of w_s vote_s(i). Learns nothing."""

    @abstractmethod
    def votes(self, source: Candidates) -> Tensor:
        """What a list says of each of its items, shape as ``source``; pads are masked after."""

    def fused(self, union: Union, votes: Tensor) -> Tensor:
        """Scores (B, N) at the leading entries out of the weighted votes (B, N)."""
        return union.total(votes)

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The k items with the most votes; AgentError when no input has a weight."""
        names = self.names_of(inputs)
        weights = [self.config.weights.get(name, 1.0) for name in names]
        voting = [
            (weight, source.top(self.config.depth))
            for weight, source in zip(weights, inputs, strict=True)
            if weight > 0
        ]
        if not voting:
            raise AgentError(
                f"{self.spec.name}: every input has weight 0", hint="give one a positive weight"
            )
        union = Union.of([source.items for _, source in voting])
        votes = [
            (weight * self.votes(source)).masked_fill(source.items < 0, 0.0)
            for weight, source in voting
        ]
        return union.best(self.fused(union, torch.cat(votes, 1)), k)
