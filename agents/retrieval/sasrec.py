"""SASRec: self-attention over the history (Kang & McAuley 2018, arXiv 1808.09781).

Trained with the full cross-entropy over the catalogue by default, which serves it far better
than the paper's one sampled negative (Klenitskiy & Vasilev 2023, arXiv 2309.07602).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.agent import AgentConfig, Budget, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.common import (
    RETRIEVAL_LOOP,
    RETRIEVAL_REWARD,
    item_counts,
    tie_breaker,
    within_limit,
)
from agenticrs.agents.retrieval.negatives import NegativeSampler
from agenticrs.agents.retrieval.softmax_loss import fast_bfloat16, softmax_loss
from agenticrs.agents.retrieval.transformer import Dropout, Transformer
from agenticrs.agents.retrieval.windows import Sequences, cut
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import TrainingLoop
from agenticrs.registry.spec import AgentSpec, Choice, DecisionSpace, FloatRange, IntRange

_WARM_UP = 0.05
_LAST_RATE = 0.1


class SASRecConfig(AgentConfig):
    """Size and training of the transformer."""

    embedding_size: int = Field(default=64, ge=2)
    """Length of item vectors and of all layers."""
    layers: int = Field(default=2, ge=1)
    """Blocks of attention and feed-forward."""
    heads: int = Field(default=1, ge=1)
    """Attention heads; must divide ``embedding_size``."""
    max_length: int = Field(default=50, ge=1)
    """How many of the newest items are looked at."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of activations zeroed in training."""
    loss: Literal["softmax", "bce"] = "softmax"
    """Cross-entropy over all items, or the paper's binary one with one sampled negative."""
    learning_rate: float = Field(default=4e-3, gt=0)
    """Highest step size of Adam: warmed up over a twentieth of the steps, then falling along a
    cosine to a tenth."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay (AdamW)."""
    epochs: int = Field(default=30, ge=1)
    """Passes over all transitions."""
    batch_size: int = Field(default=64, ge=1)
    """Windows in one step."""
    bfloat16: bool = True
    """Take bfloat16 inputs for the matrix products of the loss, on devices that are fast at it."""

    @model_validator(mode="after")
    def _check(self) -> SASRecConfig:
        if self.embedding_size % self.heads:
            raise ValueError(
                f"heads must divide embedding_size, got {self.heads} and {self.embedding_size}"
            )
        return self


class SASRec(Retriever[SASRecConfig]):
    """Reads the newest ``max_length`` items and predicts the next one.

    score(u, i) = h . e_i with h the transformer's last place and e_i the same item vector that
    goes in. Users have no weights of their own: an unknown user is served by the history, an
    empty history by popularity. Memory in training is bounded by the batch; see
    ``softmax_loss`` for the logits.
    """

    chunk: ClassVar[int] = 256
    config_type = SASRecConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="sasrec",
        kind="model",
        role="retrieval",
        summary="A transformer that reads the history and predicts what comes next.",
        paper="Kang & McAuley 2018, Self-attentive sequential recommendation",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        space=DecisionSpace(
            parameters=(
                Choice(name="embedding_size", values=(32, 64, 96, 128)),
                IntRange(name="layers", low=1, high=3),
                IntRange(name="max_length", low=10, high=200, log=True),
                FloatRange(name="dropout", low=0.0, high=0.6),
                FloatRange(name="learning_rate", low=2e-4, high=1e-2, log=True),
                FloatRange(name="weight_decay", low=0.0, high=0.3),
                IntRange(name="epochs", low=10, high=100, log=True),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Train with AdamW on windows cut anew in every epoch."""
        super().fit(data, budget)
        config, histories = self.config, data.histories
        generator = torch.Generator(self.device).manual_seed(self.seed)
        self.model = self._build()
        self.model.initialise(generator)
        self.prior = tie_breaker(item_counts(histories, self.n_items))
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        sampler = NegativeSampler(histories, self.n_items, generator)
        dropout = Dropout(config.dropout, generator)
        loop = TrainingLoop(budget, config.epochs)
        self.model.requires_grad_()
        for epoch in loop:
            windows = cut(histories, config.max_length, generator)
            steps = -(-len(windows.rows) // config.batch_size)
            batches = windows.batches(histories, config.batch_size, generator)
            for step, batch in enumerate(batches):
                done = (epoch + (step + 1) / steps) / loop.total
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * _rate(done)
                loop.step(self._loss(batch, dropout, sampler), optimizer)
        self.model.requires_grad_(False)

    def _build(self) -> Transformer:
        config = self.config
        model = Transformer(
            self.n_items, config.max_length, config.embedding_size, config.layers, config.heads
        )
        return model.to(self.device)

    def _loss(self, batch: Sequences, dropout: Dropout, sampler: NegativeSampler) -> Tensor:
        """Mean loss over the real places of a batch."""
        real = batch.target >= 0
        encoded: Tensor = self.model(batch.items, real.sum(1), dropout)
        hidden, target = encoded[real], batch.target[real]
        if self.config.loss == "softmax":
            low = self.config.bfloat16 and fast_bfloat16(self.device)
            return softmax_loss(hidden, self.model.items, target, bfloat16=low)
        rows = batch.rows[:, None].expand_as(real)[real]
        negative = sampler.draw(rows, 1)[:, 0]
        better = (hidden * self.model.items[target]).sum(1)
        worse = (hidden * self.model.items[negative]).sum(1)
        return functional.softplus(-better).mean() + functional.softplus(worse).mean()

    def score(self, users: UserBatch) -> Tensor:
        """Dot products of each user's last place with all items."""
        width = int(users.lengths.clamp(max=self.config.max_length).max()) if len(users) else 0
        if not width:
            return self.prior.repeat(len(users), 1)
        lengths = users.lengths.clamp(max=width)
        place = torch.arange(width, device=users.items.device)
        entry = (users.offsets[1:] - lengths)[:, None] + place
        items = users.items[entry.clamp(max=len(users.items) - 1)]
        encoded: Tensor = self.model(items, lengths)
        last = encoded[torch.arange(len(users)), (lengths - 1).clamp(min=0)]
        scores = last @ self.model.items.T
        return torch.where(lengths[:, None] > 0, scores, self.prior)

    def state(self) -> dict[str, Tensor]:
        """The transformer's weights, and popularity for users without a history."""
        weights = {name: weight.cpu() for name, weight in self.model.state_dict().items()}
        return {**weights, "prior": self.prior.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the weights."""
        super().load(state, n_users=n_users, n_items=n_items)
        weights = dict(state)
        self.prior = weights.pop("prior").to(self.device)
        self.model = self._build()
        self.model.load_state_dict(weights)
        self.model.requires_grad_(False)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """Item and position vectors, the blocks, the last norm, and popularity."""
        own = cast(SASRecConfig, config)
        size = own.embedding_size
        block = 8 * size * size + 11 * size
        tables = (n_items + own.max_length) * size + n_items
        return within_limit("sasrec", tables + own.layers * block + 2 * size)


def _rate(done: float) -> float:
    """Factor on the learning rate when a share ``done`` in (0, 1] of all steps is done."""
    if done < _WARM_UP:
        return done / _WARM_UP
    wave = 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
    return _LAST_RATE + (1 - _LAST_RATE) * wave
