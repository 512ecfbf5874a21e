"""Fusion by a small network that learns from what users took out of the lists.

It starts as reciprocal-rank fusion and learns what the ranks leave out: how far ahead an item is in
a list, how much each list is worth to users with short and long histories, and how popular an item
may be. Trained by the list-wise softmax loss (Cao et al. 2007, Learning to rank: from pairwise
approach to listwise approach, ICML), each taken item weighted by its business value: the outer
reward, made smooth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.agent import AgentConfig, Budget, OutcomeLearner
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.fusion.common import FUSION_LOOP, FUSION_REWARD, InputNames
from agenticrs.agents.fusion.score import standardised
from agenticrs.agents.fusion.union import Union
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.retrieval.common import log_popularity
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import diverged
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange

_FEATURES = 3
_CHUNK = 256
_RANK_OFFSET = 10
_LIST = "list."


class LearnedFusionConfig(AgentConfig):
    """Size and training of the network."""

    hidden: int = Field(default=16, ge=1)
    """Width of the hidden layer."""
    steps: int = Field(default=150, ge=1)
    """Steps of AdamW, on 256 users each."""
    learning_rate: float = Field(default=0.02, gt=0)
    """Step size."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Decoupled weight decay of AdamW."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of lists left out in a step, so that the fusion still works when a list is missing."""
    depth: int = Field(default=100, ge=1)
    """How many items of each list are considered."""


@dataclass(frozen=True)
class _Entries:
    """All entries of the lists: ``features`` (B, N, 3), ``source`` (N,), ``context`` (B, N, 2)."""

    union: Union
    features: Tensor
    source: Tensor
    context: Tensor

    def take(self, rows: Tensor) -> _Entries:
        union = Union(self.union.items[rows], self.union.first[rows])
        return _Entries(union, self.features[rows], self.source, self.context[rows])


class LearnedFusion(InputNames, OutcomeLearner[LearnedFusionConfig]):
    """score(u, i) = w . relu(h) + skip, with h and skip sums over the lists that hold i.

    Each list s brings (10 / (10 + rank), standardised score, 1) times its own weights; the length
    of the user's history and the item's popularity enter h. A list that was not there while
    learning gets the mean of the others' weights.
    """

    config_type = LearnedFusionConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="learned_fusion",
        kind="model",
        role="fusion",
        summary="Fuses lists by a small network that learns from what users took.",
        paper="Cao et al. 2007, Learning to rank: from pairwise approach to listwise approach",
        loop=FUSION_LOOP,
        inner_reward=FUSION_REWARD,
        space=DecisionSpace(
            parameters=(
                IntRange(name="hidden", low=4, high=64, log=True),
                IntRange(name="steps", low=50, high=400, log=True),
                FloatRange(name="learning_rate", low=2e-3, high=1e-1, log=True),
                FloatRange(name="weight_decay", low=1e-3, high=1.0, log=True),
                FloatRange(name="dropout", low=0.0, high=0.5),
            )
        ),
        outer_weight=0.5,
        on_request=True,
    )
    popularity: Tensor
    """(n_items,): log-scaled counts, 1 for the most popular item."""
    shared: dict[str, Tensor]
    """context (2, hidden), bias (hidden,), out (hidden,)."""
    by_list: dict[str, Tensor]
    """Agent -> (3, hidden + 1); the last column leads past the hidden layer."""

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Note how popular the items are; until it has learnt it fuses by reciprocal ranks."""
        super().fit(data, budget)
        self.popularity = log_popularity(data.histories, data.n_items)
        self._start(())

    def _start(self, names: Sequence[str]) -> None:
        hidden, generator = self.config.hidden, torch.Generator().manual_seed(self.seed)

        def drawn(*shape: int) -> Tensor:
            return (0.3 * torch.randn(shape, generator=generator)).to(self.device)

        self.shared = {
            "context": drawn(2, hidden),
            "bias": drawn(hidden),
            "out": torch.zeros(hidden, device=self.device),
        }
        self.by_list = {}
        for name in dict.fromkeys(names):
            skip = torch.tensor([[1.0], [0.0], [0.0]], device=self.device)
            self.by_list[name] = torch.cat([drawn(_FEATURES, hidden), skip], 1)

    def learn(self, lesson: Lesson) -> None:
        """Train on the users who took something that a list holds.

        Raises AgentError when the loss is not finite.
        """
        config = self.config
        names = self._named(lesson.inputs)
        self._start(names)
        entries = self._entries(lesson.users, lesson.inputs)
        gains = lesson.gains(entries.union.items, self.n_items) * entries.union.leading
        taught = (gains.sum(1) > 0).nonzero()[:, 0]
        if not len(taught):
            return
        entries, gains = entries.take(taught), gains[taught]
        weights = [*self.shared.values(), *self.by_list.values()]
        for weight in weights:
            weight.requires_grad_()
        optimizer = torch.optim.AdamW(
            weights, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        generator = torch.Generator(self.device).manual_seed(self.seed)
        for _ in range(config.steps):
            rows = torch.randperm(len(taught), generator=generator, device=self.device)[:_CHUNK]
            heard = torch.rand(len(names), generator=generator, device=self.device)
            heard = (heard >= config.dropout) | (heard == heard.max())
            loss = self._loss(names, entries.take(rows), gains[rows], heard)
            if not bool(torch.isfinite(loss)):
                raise diverged(loss)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        for weight in weights:
            weight.requires_grad_(False)

    def _named(self, inputs: Sequence[Candidates]) -> tuple[str, ...]:
        if not inputs:
            raise AgentError("learned_fusion got no list", hint="connect a retriever to it")
        return self.names_of(inputs)

    def _loss(
        self, names: Sequence[str], entries: _Entries, gains: Tensor, heard: Tensor
    ) -> Tensor:
        told = heard[entries.source]
        shown = entries.union.total(told.to(torch.float32).expand(gains.shape)) > 0
        shown &= entries.union.leading
        scores = self._scores(names, entries, told).masked_fill(~shown, -torch.inf)
        chances = functional.log_softmax(scores, 1).masked_fill(~shown, 0.0)
        worth = gains * shown
        return -(worth * chances).sum() / worth.sum().clamp(min=1e-12)

    def _scores(self, names: Sequence[str], entries: _Entries, told: Tensor | None) -> Tensor:
        """Scores (B, N) at the leading entries; ``told`` (N,) masks the lists that speak."""
        if self.by_list:
            mean = torch.stack(list(self.by_list.values())).mean(0)
        else:
            mean = torch.zeros(_FEATURES, self.config.hidden + 1, device=self.device)
            mean[0, -1] = 1.0
        table = torch.stack([self.by_list.get(name, mean) for name in names])
        parts = [
            entries.features[:, entries.source == place] @ table[place]
            for place in range(len(names))
        ]
        said = torch.cat(parts, 1)
        if told is not None:
            said = said * told[:, None]
        total = entries.union.total(said)
        context = entries.context @ self.shared["context"] + self.shared["bias"]
        hidden: Tensor = torch.relu(total[..., :-1] + context)
        return hidden @ self.shared["out"] + total[..., -1]

    def _entries(self, users: UserBatch, inputs: Sequence[Candidates]) -> _Entries:
        lists = [source.top(self.config.depth) for source in inputs]
        union = Union.of([source.items for source in lists])
        features = torch.cat([_features(source) for source in lists], 1)
        source = torch.repeat_interleave(
            torch.arange(len(lists), device=self.device),
            torch.tensor([part.items.shape[1] for part in lists], device=self.device),
        )
        known = self.popularity[union.items.clamp(0, max(0, self.n_items - 1))]
        length = users.lengths.to(torch.float32).log1p()[:, None] / 7
        context = torch.stack([known, length.expand_as(known)], 2)
        return _Entries(union, features, source, context)

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The k items with the highest scores."""
        names = self._named(inputs)
        users = users.within(self.n_users, self.n_items)
        parts = []
        for start in range(0, max(1, len(users)), _CHUNK):
            rows = torch.arange(start, min(start + _CHUNK, len(users)), device=self.device)
            given = [Candidates(source.items[rows], source.scores[rows]) for source in inputs]
            entries = self._entries(users.take(rows), given)
            parts.append(entries.union.best(self._scores(names, entries, None), k))
        return Candidates(
            torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
        )

    def state(self) -> dict[str, Tensor]:
        """Popularity, the network, and each list's weights under the name of its agent."""
        lists = {_LIST + name: weight for name, weight in self.by_list.items()}
        held = {"popularity": self.popularity, **self.shared, **lists}
        return {name: weight.detach().cpu() for name, weight in held.items()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the weights."""
        super().load(state, n_users=n_users, n_items=n_items)
        held = {name: weight.to(self.device) for name, weight in state.items()}
        self.popularity = held["popularity"]
        self.shared = {name: held[name] for name in ("context", "bias", "out")}
        self.by_list = {
            name.removeprefix(_LIST): weight
            for name, weight in held.items()
            if name.startswith(_LIST)
        }

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """The popularity table, and the network with the weights of ten lists."""
        hidden = cast(LearnedFusionConfig, config).hidden
        return n_items + 10 * _FEATURES * (hidden + 1) + 4 * hidden


def _features(source: Candidates) -> Tensor:
    """(10 / (10 + rank), standardised score, 1) of each entry, zeros at pads, (B, k, 3)."""
    shown = (source.items >= 0).to(torch.float32)
    rank = torch.arange(1, source.items.shape[1] + 1, device=source.items.device)
    votes = (_RANK_OFFSET / (_RANK_OFFSET + rank)).expand_as(shown)
    score = standardised(source).to(torch.float32).clamp(-3, 3)
    return torch.stack([votes, score, torch.ones_like(shown)], 2) * shown[..., None]
