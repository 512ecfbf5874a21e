"""Retrievers that are built from a document: one training loop for all of them.

A subclass says which document its config stands for. What the document's query is decides how it
learns: a sequence predicts the next item at every place of a window; a vector predicts an item
from what came before it. A document with a generated block is trained, and asked for users'
vectors, in the sandbox (``confined``).
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.early_stopping import PatientConfig, on_newest_items
from agenticrs.agents.grammar.compute import Written
from agenticrs.agents.grammar.descent import Descent
from agenticrs.agents.grammar.document import Architecture, GraphPropagation
from agenticrs.agents.grammar.losses import Draws, as_cosines, catalogue_loss
from agenticrs.agents.grammar.network import Batch, Network, count_weights
from agenticrs.agents.grammar.structured import (
    StructuredConfig,
    architecture,
    check_structure,
)
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.training import CatalogueLoss, Sampler
from agenticrs.agents.precision import Precision, in_bfloat16, multiplying
from agenticrs.agents.retrieval.common import item_counts, tie_breaker, within_limit
from agenticrs.agents.retrieval.dot import DotRetriever
from agenticrs.agents.retrieval.windows import cut
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import Trained, TrainingLoop

if TYPE_CHECKING:
    from agenticrs.agents.grammar.confined import Confined

_SHORTEST = 1e-9
"""Least length of a vector by which others are divided."""
_UNKNOWN_SHARE = 0.1
"""Share of examples in which the user is unknown, so that unknown users are learnt too."""


class DocumentConfig(PatientConfig, StructuredConfig):
    """How a document is trained, as far as it does not say so itself."""

    loss: CatalogueLoss = "softmax"
    """Over all items, or over ``negatives`` drawn ones (``losses.catalogue_loss``)."""
    negatives: int = Field(default=256, ge=1)
    """Items drawn for each batch, for losses that sample."""
    calibration: float = Field(default=0.75, ge=0, le=1)
    """gBCE's t: 0 is plain BCE."""
    temperature: float = Field(default=0.0, ge=0)
    """Above 0: the loss sees cosines over this instead of products, so that nobody wins by the
    length of a vector (Wu et al. 2022, arXiv 2201.02327). 0: off."""
    length_power: float = Field(default=1.0, ge=0, le=1)
    """Where there is a ``temperature``, lists rank by cosines times the item vector's length to
    this power: 1 is the product, as in that paper, 0 the cosine. No loss rules these lengths;
    smoothed over a graph they say how popular an item is, and in full they can say it too loudly
    (``docs/results.md``, Gowalla)."""
    learning_rate: float = Field(default=4e-3, gt=0)
    """Highest step size of AdamW: warmed up, then falling along a cosine; or what a document's own
    training multiplies."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay, decoupled under AdamW."""
    l2: float = Field(default=0.0, ge=0)
    """Weight of the squared norms of the vectors in a batch (BPR's regularisation)."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the data."""
    batch_size: int = Field(default=64, ge=1)
    """Windows (sequences) or positives (vectors) in one step."""
    precision: Precision = "auto"
    """In which numbers training multiplies (``agents/precision.py``)."""
    max_length: int = Field(default=50, ge=1)
    """How many of the newest items are looked at."""


Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The loss of queries, table and targets."""
ConfigT = TypeVar("ConfigT", bound=DocumentConfig)
Example = tuple[Batch, Tensor]
"""A batch, and its targets: (B, T) with -1 pads for sequences, (B,) for vectors."""


class DocumentRetriever(DotRetriever[ConfigT]):
    """Scores the catalogue by the document's query and table of items."""

    written: Written | None = None
    """The class of the document's generated block, where it may run: in the sandbox."""
    confined: Confined | None = None
    """Who answers in the place of a network, where it may not."""

    @classmethod
    @abstractmethod
    def document(cls, config: ConfigT) -> Architecture:
        """The structure that the config stands for; its head is a dot head."""

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Train, then keep the tables that serving reads."""
        super().fit(data, budget)
        if self._is_elsewhere():
            self._fit_elsewhere(data, budget)
            return
        config = self.config
        generator = torch.Generator(self.device).manual_seed(self.seed)
        document = architecture(type(self), config)
        network = Network(document, Sizes.of(data), self.written).to(self.device)
        network.initialise(generator)
        weights = dict(network.named_parameters())
        self.prior = tie_breaker(item_counts(data.histories, self.n_items))
        histories = data.histories
        if not network.reads_times():
            histories = replace(histories, times=None)  # nothing is gathered that nobody reads
        histories, stopping = on_newest_items(self, histories, weights, config.patience, generator)
        head = network.dot_head()
        graph = normalised_graph(histories, self.n_items) if _has_graph(network) else None
        network.give(data.user_features, data.item_features, graph)
        descent = Descent(
            document.trained_by(), weights.values(), config.learning_rate, config.weight_decay
        )
        loss = self._objective(document, histories, generator)
        unknown = _UNKNOWN_SHARE if network.reads_history() else 0.0
        sequential = network.shapes[head.query].kind == "sequence"
        trained = Trained(weights, descent.optimizer, generator)
        loop = TrainingLoop(budget, config.epochs, trained, stopping)
        for epoch in loop:
            examples = (
                self._windows(histories, generator)
                if sequential
                else self._pairs(histories, unknown, generator)
            )
            for done, (batch, target) in examples:
                descent.at((epoch + done) / loop.total)
                tables = network.tables()
                with multiplying(self._bfloat16, self.device):
                    query = network.query(tables, batch, generator).to(torch.float32)
                real = target >= 0
                loop.step(
                    self._loss(network, tables[head.items], query[real], target[real], loss),
                    descent.optimizer,
                )
            self._serve(network)  # whoever is told of the epoch may look at how good it is
        network.requires_grad_(False)
        self._serve(network)

    def _serve(self, network: Network) -> None:
        """Answer by the network as it is now."""
        with torch.no_grad():
            self.network, self.tables = network, network.serving_tables()
            self._index(self.tables[network.dot_head().items], network.bias)
        self._knows_users = network.reads_user()

    @property
    def _bfloat16(self) -> bool:
        return in_bfloat16(self.config.precision, self.device)

    def _objective(
        self, document: Architecture, histories: UserBatch, generator: torch.Generator
    ) -> Objective:
        """The loss that the document names, else that of the settings."""
        config, training = self.config, document.trained_by()
        sampler = training.sampler or Sampler(draw="uniform")
        counts = item_counts(histories, self.n_items)
        return partial(
            catalogue_loss,
            cast(CatalogueLoss, training.loss or config.loss),
            draws=Draws(sampler, config.negatives, counts, generator),
            calibration=config.calibration,
            bfloat16=self._bfloat16,
        )

    def _loss(
        self,
        network: Network,
        table: Tensor,
        query: Tensor,
        target: Tensor,
        objective: Objective,
    ) -> Tensor:
        config = self.config
        penalty = query.new_zeros(())
        if config.l2:
            norms = query.square().sum(1) + table[target].square().sum(1)
            penalty = config.l2 * norms.mean()
        if config.temperature:
            query, table = as_cosines(query, table, config.temperature)
        if network.bias is not None:
            query = torch.cat([query, query.new_ones(len(query), 1)], 1)
            table = torch.cat([table, network.bias[:, None]], 1)
        return objective(query, table, target) + penalty

    def _windows(
        self, histories: UserBatch, generator: torch.Generator
    ) -> Iterator[tuple[float, Example]]:
        config = self.config
        windows = cut(histories, config.max_length, generator)
        steps = -(-len(windows.rows) // config.batch_size)
        batches = windows.batches(histories, config.batch_size, generator)
        for step, found in enumerate(batches):
            lengths = (found.items >= 0).sum(1)
            batch = Batch(found.rows, found.items, lengths, times=found.times)
            yield (step + 1) / steps, (batch, found.target)

    def _pairs(
        self, histories: UserBatch, unknown: float, generator: torch.Generator
    ) -> Iterator[tuple[float, Example]]:
        config, n, rows = self.config, len(histories.items), histories.rows
        for step, entry in enumerate(TrainingLoop.batches(n, config.batch_size, generator)):
            row = rows[entry]
            begin = histories.offsets[:-1][row]
            start = torch.maximum(begin, entry - config.max_length)
            lengths = entry - start
            width = max(1, int(lengths.max()))
            place = start[:, None] + torch.arange(width, device=entry.device)
            inside = place < entry[:, None]
            place = place.clamp(max=n - 1)
            items = torch.where(inside, histories.items[place], -1)
            times = None if histories.times is None else histories.times[place]
            hidden = torch.rand(len(row), generator=generator, device=row.device) < unknown
            user = torch.where(hidden, -1, row)
            done = min(1.0, (step + 1) * config.batch_size / n)
            yield done, (Batch(user, items, lengths, times=times), histories.items[entry])

    def queries(self, users: UserBatch) -> Tensor:
        """The document's query, or a flag for users who get what is popular."""
        query = self.vectors(users)
        lost = users.lengths == 0  # nothing is known, unless there is a user's own vector
        if self._knows_users:
            lost &= users.users < 0
        found = (~lost)[:, None].to(query.dtype)
        return torch.cat([query * found, found, 1 - found], 1)

    def vectors(self, users: UserBatch) -> Tensor:
        """The document's query, (B, width); it means nothing for users of whom nothing is known."""
        if self.confined is not None:
            return self.confined.queries(users).to(self.device)
        items, lengths = users.newest(self.config.max_length)
        times = users.newest_times(self.config.max_length) if self.network.reads_times() else None
        batch = Batch(users.users, items, lengths, times=times)
        query = self.network.last_query(self.tables, batch)
        new = users.users < 0
        if not self.network.reads_history() and bool(new.any()):
            table = self.tables[self.network.dot_head().items]
            vectors = table[items.clamp(min=0)] * (items >= 0)[..., None]
            mean = vectors.sum(1) / lengths.clamp(min=1)[:, None]
            query = torch.where(new[:, None], mean, query)
        return query

    def _index(self, vectors: Tensor, bias: Tensor | None) -> None:
        """Bias and popularity become columns beside the items' vectors."""
        if self.config.temperature and self.config.length_power < 1:
            length = vectors.norm(dim=1, keepdim=True).clamp(min=_SHORTEST)
            vectors = vectors * length ** (self.config.length_power - 1)
        zeros = torch.zeros_like(self.prior)
        columns = [zeros if bias is None else bias.detach(), self.prior]
        self.table = torch.cat([vectors, torch.stack(columns, 1)], 1)

    def state(self) -> dict[str, Tensor]:
        """The tables that serving reads, the weights of the other blocks, and popularity."""
        if self.confined is not None:
            return {**self.confined.state, "prior": self.prior.cpu()}
        return {**self.network.serving_state(self.tables), "prior": self.prior.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the tables and weights."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.prior = state["prior"].to(self.device)
        document = architecture(type(self), self.config)
        self._knows_users = document.looks_up("user")
        if self._is_elsewhere():
            self._load_elsewhere(document, state)
            return
        network = Network(document, Sizes(0, n_items), self.written)
        self.tables = network.take_over(state, self.device)
        self.network = network.to(self.device).requires_grad_(False)
        self._index(self.tables[network.dot_head().items], network.bias)

    def _is_elsewhere(self) -> bool:
        """Whether there is a block that must not run in this process."""
        structure = self.config.structure
        return structure is not None and structure.generated is not None and self.written is None

    def _fit_elsewhere(self, data: TrainingData, budget: Budget) -> None:
        from agenticrs.agents.grammar.confined import train

        document = architecture(type(self), self.config)
        state = train(self._common(), document, self.seed, data, budget)
        prior = tie_breaker(item_counts(data.histories, self.n_items))
        self.load({**state, "prior": prior}, n_users=self.n_users, n_items=self.n_items)

    def _load_elsewhere(self, document: Architecture, state: Mapping[str, Tensor]) -> None:
        from agenticrs.agents.grammar.confined import Confined

        weights = {name: tensor for name, tensor in state.items() if name != "prior"}
        self.confined = Confined(self._common(), document, weights, self.n_items)
        bias = weights.get("weight.bias")
        items = weights[f"table.{document.head.inputs()[1]}"].to(self.device)
        self._index(items, None if bias is None else bias.to(self.device))

    def _common(self) -> dict[str, Any]:
        """The settings that all documents have, as JSON."""
        fields = set(DocumentConfig.model_fields)
        return self.config.model_dump(mode="json", include=fields)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """The document's weights and popularity, without the features' vectors."""
        own = cast(ConfigT, config)
        if own.structure is not None:
            check_structure(own.structure, cls.spec.space.grammar)
        weights = count_weights(architecture(cls, own), n_users, n_items)
        return within_limit(cls.spec.name, weights + n_items)


def normalised_graph(histories: UserBatch, n_items: int) -> Tensor:
    """D^-1/2 A D^-1/2 over users and items, (n_users + n_items) square, sparse CSR (LightGCN)."""
    n_users = len(histories)
    n = n_users + n_items
    pairs = torch.unique(histories.rows * n_items + histories.items)
    user = pairs // n_items
    item = pairs % n_items + n_users
    row, column = torch.cat([user, item]), torch.cat([item, user])
    degree = torch.bincount(row, minlength=n).to(torch.float32)
    weight = (degree[row] * degree[column]).rsqrt()
    with warnings.catch_warnings():  # "in beta state": tests compare it with a dense product
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        placed = torch.sparse_coo_tensor(
            torch.stack([row, column]), weight, (n, n), check_invariants=False
        )
        return placed.to_sparse_csr()


def _has_graph(network: Network) -> bool:
    return any(isinstance(b, GraphPropagation) for b in network.architecture.blocks)
