"""Rankers that are built from a document: logits for each candidate, and the incoming order.

``CandidateRanker`` answers; ``DocumentRanker`` learns one task from lists of a positive and sampled
negatives. A subclass says which document its config stands for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import ClassVar, TypeVar, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent, AgentConfig, Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.early_stopping import EarlyStopping, hold_back
from agenticrs.agents.grammar import document as form
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.losses import list_loss
from agenticrs.agents.grammar.network import Batch, Network, count_weights
from agenticrs.agents.grammar.structured import (
    StructuredConfig,
    architecture,
    check_structure,
)
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.training import Draw, ListLoss, Sampler, Training
from agenticrs.agents.precision import Precision, in_bfloat16, multiplying
from agenticrs.agents.ranking.candidate_sampling import CandidateSampler, neighbour_table
from agenticrs.agents.retrieval.common import item_counts, within_limit
from agenticrs.agents.side_by_side import Course, Example, SideBySide, train_alone
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import TrainingLoop
from agenticrs.registry.spec import ClosedLoop, Port

RANKING_LOOP = ClosedLoop(
    inputs=(Port.USERS, Port.CANDIDATES),
    output=Port.CANDIDATES,
    executor="the runtime hands the ordered list to the next agent, or shows it",
    feedback="click",
)
_CHUNK = 256
_UNKNOWN_SHARE = 0.1
"""Share of training lists in which the user is unknown, so that unknown users are learnt too."""
_SHARES: Mapping[Draw, tuple[float, float, float]] = {
    "uniform": (0.0, 0.0, 0.0),
    "popularity": (0.0, 1.0, 0.0),
    "neighbours": (1.0, 0.0, 0.0),
}
"""Of neighbours, popular items and exposures among negatives, by a document's own sampler."""
_STACKED = (
    form.Embedding,
    form.FeatureEmbedding,
    form.Lookup,
    form.Context,
    form.Pooling,
    form.Concat,
    form.Add,
    form.Mlp,
    form.Norm,
    form.Cross,
    form.Factorisation,
    form.Similarity,
    form.TargetAttention,
    form.Mixture,
    form.Gate,
)
"""Blocks that torch.func stacks; dropout it does not, since each model draws its own."""


class CandidateConfig(AgentConfig):
    """How a ranking document is trained, and how much the incoming order counts."""

    history: int = Field(default=20, ge=1)
    """How many of the newest items describe the user."""
    upstream_weight: float = Field(default=2.0, ge=0)
    """Weight of -log(incoming rank) beside the network's logit; a large one keeps the order."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Step size of AdamW, or what a document's own training multiplies."""
    l2: float = Field(default=1e-5, ge=0)
    """Weight decay."""
    epochs: int = Field(default=2, ge=1)
    """Passes over what is learnt from."""
    batch_size: int = Field(default=256, ge=1)
    """Positives, or events, in one step."""
    patience: int = Field(default=0, ge=0)
    """Epochs without a better order (a lower loss) of what was held back after which training
    stops, at the best epoch's weights. 0: never."""
    precision: Precision = "auto"
    """In which numbers training multiplies (``agents/precision.py``)."""


class RankerConfig(CandidateConfig, StructuredConfig):
    """How lists to learn from are made, as far as the document does not say so itself."""

    neighbour_share: float = Field(default=0.4, ge=0, le=1)
    """Share of negatives that are neighbours of the history: what retrievers would offer."""
    popular_share: float = Field(default=0.2, ge=0, le=1)
    """Share of negatives drawn by popularity."""
    exposed_share: float = Field(default=0.1, ge=0, le=1)
    """Share of negatives that were shown and not taken, for users that have such rows."""
    negatives: int = Field(default=20, ge=1)
    """Negatives beside each positive."""
    positives_per_epoch: int = Field(default=100_000, ge=1)
    """Long logs are sampled down to this many positives in each epoch."""

    @model_validator(mode="after")
    def _check(self) -> RankerConfig:
        shares = self.neighbour_share + self.popular_share + self.exposed_share
        if shares > 1 + 1e-9:
            raise ValueError(f"the shares of negatives must not exceed 1 together, got {shares}")
        return self


CandidateConfigT = TypeVar("CandidateConfigT", bound=CandidateConfig)
ConfigT = TypeVar("ConfigT", bound=RankerConfig)


class CandidateRanker(Agent[CandidateConfigT]):
    """Orders candidates by a network's logits - upstream_weight * log(rank)."""

    network: Network
    tables: dict[str, Tensor]
    popularity: Tensor

    @abstractmethod
    def structure(self) -> Architecture:
        """The document; for an agent that was loaded, that of its weights."""

    def combined(self, logits: Mapping[str, Tensor]) -> Tensor:
        """One score out of the tasks' logits, all (B, N)."""
        (only,) = logits.values()
        return only

    def _begin(self, data: TrainingData, generator: torch.Generator) -> Network:
        """A network with fresh weights, ready to learn from the data."""
        network = Network(self.structure(), Sizes.of(data)).to(self.device)
        network.initialise(generator)
        network.give(data.user_features, data.item_features, None)
        self.popularity = torch.log1p(item_counts(data.histories, self.n_items))
        return network

    def values_to_learn(
        self, network: Network, batch: Batch, noise: torch.Generator | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The tasks' logits (B, N) in float32, and all values in the precision of training."""
        low = in_bfloat16(self.config.precision, self.device)
        tables = network.tables()
        with multiplying(low, self.device):
            values = network.values(tables, batch, noise)
            logits = network.task_logits(values)
        return {task: found.to(torch.float32) for task, found in logits.items()}, values

    def _batch(
        self, user: Tensor, past: Tensor, lengths: Tensor, full_lengths: Tensor, items: Tensor
    ) -> Batch:
        popular = self.popularity[items.clamp(min=0)] * (items >= 0)
        length = torch.log1p(full_lengths.to(popular.dtype))[:, None].expand_as(popular)
        return Batch(user, past, lengths, items, torch.stack([popular, length], -1))

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The candidates in their new order, k at most."""
        (source,) = inputs
        catalogue = max(self.n_items, int(source.items.max()) + 1 if source.items.numel() else 0)
        source = lists.compact(source, lists.allowed(source.items, users, catalogue))
        scores = self._scores(users.within(self.n_users, self.n_items), source.items)
        best = scores.topk(min(k, scores.shape[1]), dim=1)
        return Candidates(source.items.gather(1, best.indices), best.values)

    def _scores(self, users: UserBatch, items: Tensor) -> Tensor:
        """Final scores of compacted lists ``items`` (B, K), -inf at pads."""
        known = torch.where(items < self.n_items, items, -1)
        parts = [items.new_zeros(0, items.shape[1], dtype=torch.float32)]
        for _, values in self.values(users, known):
            parts.append(self.combined(self.network.task_logits(values)))
        rank = torch.arange(1, items.shape[1] + 1, device=items.device)
        scores = torch.cat(parts) - self.config.upstream_weight * rank.log()
        return scores.masked_fill(items < 0, -torch.inf)

    def values(self, users: UserBatch, items: Tensor) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """All values of the network for known users and items (B, K), a part of them at a time.

        Yields that part of ``items`` and its values by name.
        """
        full = users.lengths
        past, lengths = users.newest(self.config.history)
        for start in range(0, len(items), _CHUNK):
            some = slice(start, start + _CHUNK)
            batch = self._batch(
                users.users[some], past[some], lengths[some], full[some], items[some]
            )
            yield items[some], self.network.values(self.tables, batch)

    def state(self) -> dict[str, Tensor]:
        """The tables that serving reads, the weights of the other blocks, and the counts."""
        kept = self.network.serving_state(self.tables)
        return {**kept, "popularity": self.popularity.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the tables and weights."""
        super().load(state, n_users=n_users, n_items=n_items)
        network = Network(self.structure(), Sizes(0, 0))
        self.tables = network.take_over(state, self.device)
        self.network = network.to(self.device).requires_grad_(False)
        self.popularity = state["popularity"].to(self.device)


class DocumentRanker(CandidateRanker[ConfigT], SideBySide):
    """Learns from lists of a positive and negatives that look like candidates.

    The loss is a softmax over the list, unless the document names another.
    The history of a positive is what came before it, never the item itself or later ones.
    """

    free_settings: ClassVar[frozenset[str]] = frozenset(
        {
            "learning_rate",
            "l2",
            "upstream_weight",
            "neighbour_share",
            "popular_share",
            "exposed_share",
        }
    )

    @classmethod
    @abstractmethod
    def document(cls, config: ConfigT) -> Architecture:
        """The structure that the config stands for; its head has one task."""

    def structure(self) -> Architecture:
        """The document of the config."""
        return architecture(type(self), self.config)

    @cached_property
    def training(self) -> Training:
        """What the document says of it."""
        return self.structure().trained_by()

    @property
    def sampled(self) -> Sampler:
        """How negatives are drawn."""
        return self.training.sampler or Sampler(draw="mixed")

    @property
    def sources(self) -> tuple[float, float, float]:
        """Shares of neighbours, popular items and exposures among negatives."""
        config = self.config
        mixed = (config.neighbour_share, config.popular_share, config.exposed_share)
        return _SHARES.get(self.sampled.draw, mixed)

    @classmethod
    def can_be_stacked(cls, config: ConfigT) -> bool:
        """Whether all blocks can, without dropout, and its descent is the usual one, to its end."""
        document = architecture(cls, config)
        descent = document.trained_by().descent
        usual = not config.patience and descent == document.usual_training
        return usual and all(
            isinstance(block, _STACKED) and not getattr(block, "dropout", 0.0)
            for block in document.blocks
        )

    @classmethod
    def courses(cls, agents: Sequence[DocumentRanker[ConfigT]], data: TrainingData) -> list[Course]:
        """The trainings of these agents; the neighbours of items are looked for once."""
        wanted = any(agent.sources[0] for agent in agents)
        near = neighbour_table(data, agents[0].device) if wanted else None
        return [agent.course(data, near) for agent in agents]

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Train on positives and sampled negatives."""
        course = self.course(data)
        train_alone(course, budget)
        self.finish(course)

    def course(self, data: TrainingData, near: Tensor | None = None) -> Course:
        """The training from this seed; ``near`` is ``neighbour_table`` where it is known."""
        super().fit(data, Budget())
        config, every = self.config, data.histories
        generator = torch.Generator(self.device).manual_seed(self.seed)
        judges = every.users[:0]
        if config.patience:
            shorter, judges, _ = hold_back(every, generator)
            data = replace(data, histories=shorter)
        network = self._begin(data, generator)
        weights = dict(network.named_parameters())
        neighbours, popular, exposed = self.sources
        sampler = CandidateSampler(
            data,
            neighbours=neighbours,
            popular=popular,
            exposed=exposed,
            generator=generator,
            power=self.sampled.power if self.sampled.draw == "popularity" else 1.0,
            near=near,
        )
        stopping = None
        if len(judges):
            newest = every.offsets[1:][judges] - 1
            lists = self._lists(every, judges, newest, sampler, generator)
            score = partial(self._order, network, lists)
            stopping = EarlyStopping(weights, score, config.patience)

        def terms(network: nn.Module, example: Example, noise: torch.Generator | None) -> Tensor:
            return self.terms(cast(Network, network), Batch(*example), noise)

        return Course(
            network=network,
            generator=generator,
            epochs=config.epochs,
            learning_rate=config.learning_rate,
            decay=config.l2,
            examples=lambda: self._examples(data.histories, sampler, generator),
            terms=terms,
            weights=self.weights(),
            stopping=stopping,
            training=self.training,
            batches=-(
                -min(len(data.histories.items), config.positives_per_epoch) // config.batch_size
            ),
        )

    def finish(self, course: Course) -> None:
        """Serve the tables of the course's network."""
        self.network = cast(Network, course.network)
        self.tables = self.network.freeze()

    def terms(self, network: Network, batch: Batch, noise: torch.Generator | None) -> Tensor:
        """The parts of the loss of lists whose first candidate is the positive, (n,).

        They must not depend on settings in which agents that are stacked may differ.
        """
        (logits,) = self.values_to_learn(network, batch, noise)[0].values()
        return list_loss(cast(ListLoss, self.training.loss or "listwise"), logits)[None]

    def weights(self) -> tuple[float, ...]:
        """What each of the terms counts."""
        return (1.0,)

    def _order(self, network: Network, lists: Batch) -> float:
        """Mean NDCG of lists whose first candidate is the only one that was taken."""
        with torch.no_grad():
            scores = self.combined(network.logits(network.tables(), lists))
        above = (scores[:, 1:] >= scores[:, :1]).sum(1)
        return float((above + 2).to(torch.float64).log2().reciprocal().mean())

    def _examples(
        self, histories: UserBatch, sampler: CandidateSampler, generator: torch.Generator
    ) -> Iterator[Example]:
        """Lists of one epoch, a batch at a time."""
        config, rows, taken = self.config, histories.rows, 0
        for entry in TrainingLoop.batches(len(histories.items), config.batch_size, generator):
            if taken >= config.positives_per_epoch:
                return
            taken += len(entry)
            batch = self._lists(histories, rows[entry], entry, sampler, generator)
            context = cast(tuple[Tensor, Tensor], (batch.candidates, batch.context))
            yield batch.user, batch.items, batch.lengths, *context

    def _lists(
        self,
        histories: UserBatch,
        rows: Tensor,
        entry: Tensor,
        sampler: CandidateSampler,
        generator: torch.Generator,
    ) -> Batch:
        """Lists whose first item is the positive at ``entry`` of the histories."""
        begin = histories.offsets[:-1][rows]
        start = torch.maximum(begin, entry - self.config.history)
        place = start[:, None] + torch.arange(self.config.history, device=entry.device)
        inside = place < entry[:, None]
        past = torch.where(inside, histories.items[place.clamp(max=len(histories.items) - 1)], -1)
        negatives = sampler.draw(rows, past, self.sampled.negatives or self.config.negatives)
        unknown = torch.rand(len(rows), generator=generator, device=rows.device) < _UNKNOWN_SHARE
        items = torch.cat([histories.items[entry][:, None], negatives], 1)
        return self._batch(
            torch.where(unknown, -1, rows), past, entry - start, entry - begin, items
        )

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """The document's weights and the items' counts, without the features' vectors."""
        own = cast(ConfigT, config)
        if own.structure is not None:
            check_structure(own.structure, cls.spec.space.grammar)
        weights = count_weights(architecture(cls, own), n_users, n_items)
        return within_limit(cls.spec.name, weights + n_items)
