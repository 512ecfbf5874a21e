"""A small healthy plug-in that is no document: the mean of the history predicts the next item.

Its parts are methods, so that a defect is a few lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from agenticrs.agents.agent import AgentConfig, Budget, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.popularity import Popularity
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import Trained, TrainingLoop
from agenticrs.registry.spec import AgentSpec

LONGEST = 12


class PlainConfig(AgentConfig):
    embedding_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=128, ge=1)


class Taste(nn.Module):
    """Item vectors, a layer on their mean, and a bias for each item."""

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.empty(n_items, width))
        self.mix = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(n_items))

    def initialise(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.items, std=0.3, generator=generator)
        nn.init.normal_(self.mix.weight, std=0.3, generator=generator)
        nn.init.zeros_(self.mix.bias)

    def mean(self, past: Tensor) -> Tensor:
        """Mean vector of the items of ``past`` (B, T), -1 pads."""
        real = (past >= 0)[..., None]
        return (self.items[past.clamp(min=0)] * real).sum(1) / real.sum(1).clamp(min=1)

    def query(self, past: Tensor) -> Tensor:
        mean = self.mean(past)
        return mean + self.mixed(mean)

    def mixed(self, mean: Tensor) -> Tensor:
        mixed: Tensor = torch.tanh(self.mix(mean))
        return mixed

    def forward(self, past: Tensor) -> Tensor:
        return self.query(past) @ self.items.T + self.bias


class Plain(Retriever[PlainConfig]):
    config_type = PlainConfig
    spec: ClassVar[AgentSpec] = Popularity.spec.model_copy(update={"name": "plain"})
    network_type: ClassVar[type[Taste]] = Taste
    network: Taste

    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        config = self.config
        generator = torch.Generator().manual_seed(self.seed)
        self.network = self.network_type(self.n_items, config.embedding_size)
        self.network.initialise(generator)
        past, target = self.examples(data)
        optimizer = torch.optim.Adam(self.trained(), lr=self.rate())
        trained = Trained(dict(self.network.named_parameters()), optimizer, generator)
        loop = TrainingLoop(budget, config.epochs, trained)
        for _ in loop:
            for rows in loop.batches(len(target), config.batch_size, generator):
                loop.step(self.loss(past[rows], target[rows]), optimizer)
        self.network.requires_grad_(False)

    def examples(self, data: TrainingData) -> tuple[Tensor, Tensor]:
        """The items before each item (n, 12), and the item (n,)."""
        histories = data.histories
        entry = torch.arange(len(histories.items))
        begin = histories.offsets[:-1][histories.rows]
        place = entry[:, None] - LONGEST + torch.arange(LONGEST)
        past = torch.where(place >= begin[:, None], histories.items[place.clamp(min=0)], -1)
        return past, histories.items

    def trained(self) -> list[nn.Parameter]:
        return list(self.network.parameters())

    def rate(self) -> float:
        return self.config.learning_rate

    def loss(self, past: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(self.network(past), target)

    def score(self, users: UserBatch) -> Tensor:
        scores: Tensor = self.network(users.recent(LONGEST))
        return scores

    def state(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        super().load(state, n_users=n_users, n_items=n_items)
        self.network = self.network_type(n_items, self.config.embedding_size)
        self.network.load_state_dict(dict(state))
        self.network.requires_grad_(False)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        size: int = getattr(config, "embedding_size", 1)
        return n_items * (size + 1) + size * (size + 1)
