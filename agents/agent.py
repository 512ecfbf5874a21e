"""The form of every agent: one frozen config, ``fit`` and ``act``.

An agent's weights are a flat dict of tensors (safetensors on disk), complete in themselves: an
agent that was loaded can act without the data it was trained on. A new agent subclasses
``Retriever`` or ``Agent`` and is registered by an entry point in group ``agenticrs.agents``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.checkpoint import Checkpoint
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.top_k import top_k
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import AgentSpec


class AgentConfig(BaseModel):
    """Hyper-parameters of an agent: a point of its decision space plus fixed settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=AgentConfig)
_CELLS_AT_ONCE = 64_000_000
"""Scores in memory at a time: 256 MB."""


@dataclass(frozen=True)
class Budget:
    """How much training one fit may use.

    ``effort`` in (0, 1] is the share of the epochs (at least one) after which the training pauses:
    it begins as the whole one does, and goes on to the same weights from its ``checkpoint``, as one
    does that was interrupted. ``seconds`` stops training at the next epoch's end; ``report`` is
    told (fraction done, text) as training goes on, ``loss`` the mean loss of each epoch (all of
    them again where a training goes on).
    """

    effort: float = 1.0
    seconds: float = float("inf")
    report: Callable[[float, str], None] = field(default=lambda fraction, text: None)
    checkpoint: Checkpoint | None = None
    loss: Callable[[float], None] = field(default=lambda loss: None)


class Agent(ABC, Generic[ConfigT]):
    """One agent: constructed from a config, fitted or loaded, then acting.

    ``seed`` fixes initial weights, sampling and shuffling: on the CPU the same seed, config and
    data give the same weights.
    """

    spec: ClassVar[AgentSpec]
    config_type: ClassVar[type[AgentConfig]]

    def __init__(self, config: ConfigT, *, seed: int = 0, device: str = "cpu") -> None:
        self.config = config
        self.seed = seed
        self.device = torch.device(device)
        self.n_users = 0
        self.n_items = 0

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Learn from the data. Agents that learn nothing only note its size."""
        self.n_users, self.n_items = data.n_users, data.n_items

    @abstractmethod
    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates | Route:
        """Decide for a batch. ``inputs`` are the candidates that the graph hands over, in order.

        Must be safe to call from several threads at once, and must not modify its arguments.
        """

    def state(self) -> dict[str, Tensor]:
        """The weights, on the CPU."""
        return {}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over weights from ``state`` of an agent with the same config and sizes."""
        self.n_users, self.n_items = n_users, n_items

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """Estimate the number of weights, before anything is allocated.

        Raises AgentError when this candidate cannot work on data of that size.
        """
        return 0

    def input_names(self, names: Sequence[str]) -> None:
        """Be told which agents feed ``act`` (in order), before it is called. Fusion needs it."""


class OutcomeLearner(Agent[ConfigT]):
    """An agent that decides over others' lists, and learns from how those did: fusion, routing.

    A log shows no lists, so ``fit`` cannot teach it; ``learn`` follows after ``fit``.
    """

    @abstractmethod
    def learn(self, lesson: Lesson) -> None:
        """Learn from lists and outcomes (replacing what was learnt before)."""


class Retriever(Agent[ConfigT]):
    """An agent that scores the whole catalogue and puts out the k best unseen items."""

    chunk: ClassVar[int] = 1024
    """Most users scored at a time; fewer where the catalogue is large."""

    @abstractmethod
    def score(self, users: UserBatch) -> Tensor:
        """Scores of all items, (B, n_items) float32; ``users`` hold only known users and items.

        An unknown user (-1) must get usable scores too (from the history, or popularity).
        """

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The k best items that are not in the user's history."""
        users = users.within(self.n_users, self.n_items)
        k = min(k, self.n_items)
        parts = []
        at_once = min(self.chunk, max(1, _CELLS_AT_ONCE // max(1, self.n_items)))
        for start in range(0, len(users), at_once):
            rows = torch.arange(start, min(start + at_once, len(users)), device=self.device)
            batch = users.take(rows)
            scores = self.score(batch)
            scores[batch.rows, batch.items] = -torch.inf
            values, items = top_k(scores, k)
            parts.append(Candidates(items.masked_fill(values == -torch.inf, -1), values))
        if not parts:
            return Candidates.empty(0, k, self.device)
        return Candidates(
            torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
        )
