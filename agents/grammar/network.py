"""A document as a torch module: tables first, then whatever a batch needs of them.

Built on the meta device it costs nothing, which is how sizes are estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from agenticrs.agents.grammar import document as form
from agenticrs.agents.grammar import modules
from agenticrs.agents.grammar.shapes import Shape, infer
from agenticrs.agents.training_data import EntityShape, FeatureTensors, TrainingData
from agenticrs.platform.errors import AgentError


@dataclass(frozen=True)
class Sizes:
    """How many rows and features the tables have."""

    n_users: int
    n_items: int
    users: EntityShape = field(default=EntityShape((), 0))
    items: EntityShape = field(default=EntityShape((), 0))

    @staticmethod
    def of(data: TrainingData) -> Sizes:
        """The sizes of the data."""
        return Sizes(
            data.n_users,
            data.n_items,
            EntityShape.of(data.user_features),
            EntityShape.of(data.item_features),
        )


@dataclass(frozen=True)
class Batch:
    """Whom to answer. Unknown users and items are -1.

    Shapes: ``user`` (B,); ``items`` (B, T) left-aligned with -1 pads, of which ``lengths`` (B,)
    are real; ``candidates`` (B, N) and ``context`` (B, N, 2) for documents that rank; ``times``
    (B, T) of ``items`` in Unix seconds, where known.
    """

    user: Tensor
    items: Tensor
    lengths: Tensor
    candidates: Tensor | None = None
    context: Tensor | None = None
    times: Tensor | None = None


Tables = dict[str, Tensor]
_RANKER_STD = 0.01


Written = Callable[[int], nn.Module]
"""The class of a generated block, called with its width: known in the sandbox alone."""


class Network(nn.Module):
    """The blocks of a document with their weights.

    A generated block is built by ``written``; without it, it is a stand-in that can be counted.
    """

    def __init__(
        self, architecture: form.Architecture, sizes: Sizes, written: Written | None = None
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.sizes = sizes
        self.shapes = infer(architecture)
        self.blocks = nn.ModuleDict()
        for block in architecture.blocks:
            module = _module(block, self.shapes, sizes, written)
            if module is not None:
                self.blocks[_key(block.name)] = module
        head = architecture.head
        self.bias: nn.Parameter | None = None
        if isinstance(head, form.LogitHead):
            self.tasks = nn.ModuleDict(
                {
                    _key(task): nn.Linear(self.shapes[name].width, 1)
                    for task, name in head.tasks.items()
                }
            )
        elif head.bias:
            self.bias = nn.Parameter(torch.zeros(sizes.n_items))

    def module(self, name: str) -> nn.Module:
        """The module of a block that has weights."""
        return self.blocks[_key(name)]

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights from the generator: nothing depends on torch's own random numbers.

        Those of a generated block stay as it drew them.
        """
        foreign = {
            id(inner)
            for module in self.modules()
            if isinstance(module, modules.WrittenModule)
            for inner in module.modules()
        }
        for module in self.modules():
            if id(module) in foreign:
                continue
            free = isinstance(module, TableModule | FeatureModule | modules.PositionsModule)
            for name, weight in module.named_parameters(recurse=False):
                if isinstance(module, nn.LayerNorm):
                    nn.init.constant_(weight, float(name == "weight"))
                elif free:
                    # A ranker's rare ids are seen a few times only: they begin by saying nothing.
                    ranks = isinstance(self.architecture.head, form.LogitHead)
                    std = _RANKER_STD if ranks else weight.shape[1] ** -0.5
                    nn.init.normal_(weight, std=std, generator=generator)
                elif weight.dim() == 1 or name in ("distance", "elapsed"):
                    nn.init.zeros_(weight)
                else:
                    nn.init.xavier_normal_(weight, gain=0.5, generator=generator)
        for module in self.modules():
            if isinstance(module, modules.MixtureModule):
                module.initialise(generator)

    def give(self, users: FeatureTensors, items: FeatureTensors, graph: Tensor | None) -> None:
        """Hand over what tables are made of: features, and the normalised graph (sparse)."""
        for module in self.blocks.values():
            if isinstance(module, FeatureModule):
                module.give(users if module.of == "users" else items)
            if isinstance(module, PropagationModule):
                module.graph = graph

    def tables(self) -> Tables:
        """All tables by name; kept for serving once training is over."""
        values: Tables = {}
        for block in self.architecture.blocks:
            if self._is_table(block):
                values.update(self._values(block, values, None, None))
        return values

    def reads_history(self) -> bool:
        """Whether a user is, at least in part, what the history says."""
        return self.architecture.looks_up("history")

    def reads_times(self) -> bool:
        """Whether it matters how much time passed between two items of a history."""
        blocks = self.architecture.blocks
        return any(isinstance(b, form.Attention) and b.times > 0 for b in blocks)

    def reads_user(self) -> bool:
        """Whether a user is, at least in part, a vector of one's own."""
        return self.architecture.looks_up("user")

    def _is_table(self, block: Any) -> bool:
        return all(self.shapes[output].kind == "table" for output in form.outputs_of(block))

    def freeze(self) -> Tables:
        """Train no more; return the tables that serving reads, computed once."""
        self.requires_grad_(False)
        return self.serving_tables()

    def serving_tables(self) -> Tables:
        """The tables that serving reads, as the weights are now."""
        tables = self.tables()
        return {name: tables[name].detach().contiguous() for name in self.needed_tables()}

    def serving_state(self, tables: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What ``take_over`` takes: the tables and the weights that answering needs beside them."""
        kept = {f"table.{name}": table.cpu() for name, table in tables.items()}
        return {**kept, **self._serving_weights()}

    def serving_shapes(self) -> dict[str, torch.Size]:
        """The shape of everything in ``serving_state``; nothing is computed."""
        rows = {"users": self.sizes.n_users, "items": self.sizes.n_items}
        shapes = {name: self.shapes[name] for name in self.needed_tables()}
        kept = {
            f"table.{name}": torch.Size((rows[shape.entity or "items"], shape.width))
            for name, shape in shapes.items()
        }
        weights = self.state_dict().items()
        own = {f"weight.{n}": w.shape for n, w in weights if not self._makes_table(n)}
        return {**kept, **own}

    def _serving_weights(self) -> dict[str, Tensor]:
        """The weights that answering needs beside the ready tables, on the CPU, ``weight.``..."""
        return {
            f"weight.{name}": weight.cpu()
            for name, weight in self.state_dict().items()
            if not self._makes_table(name)
        }

    def take_over(self, state: Mapping[str, Tensor], device: torch.device) -> Tables:
        """Take ``serving_state`` back out of a state; return its tables."""
        weights = {
            name.removeprefix("weight."): weight
            for name, weight in state.items()
            if name.startswith("weight.")
        }
        self.load_state_dict(weights, strict=False)
        return {
            name.removeprefix("table."): table.to(device)
            for name, table in state.items()
            if name.startswith("table.")
        }

    def _makes_table(self, weight: str) -> bool:
        """Whether that entry of ``state_dict`` only serves to make a table."""
        parts = weight.split(".")
        if parts[0] != "blocks":
            return False
        name = parts[1].removeprefix("@")
        block = next(b for b in self.architecture.blocks if b.name == name)
        return self._is_table(block)

    def needed_tables(self) -> set[str]:
        """Names of the tables that lookups and the head read: these alone serve."""
        head = self.architecture.head
        lookups = {b.table for b in self.architecture.blocks if isinstance(b, form.Lookup)}
        return lookups | ({head.items} if isinstance(head, form.DotHead) else set())

    def values(
        self, tables: Mapping[str, Tensor], batch: Batch, noise: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """All values of a batch by name; ``noise`` turns dropout on.

        A mixture also leaves ``<name>.<gate>.share``, (..., experts): how it blended.
        """
        values: dict[str, Tensor] = dict(tables)
        for block in self.architecture.blocks:
            if not self._is_table(block):
                values.update(self._values(block, values, batch, noise))
        return values

    def query(
        self, tables: Mapping[str, Tensor], batch: Batch, noise: torch.Generator | None = None
    ) -> Tensor:
        """The head's query: (B, width), or (B, T, width) for a sequence."""
        return self.values(tables, batch, noise)[self.dot_head().query]

    def last_query(self, tables: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """One query for each user, (B, width): of a sequence that of the newest place."""
        query = self.query(tables, batch)
        if query.dim() == 2:
            return query
        rows = torch.arange(len(query), device=query.device)
        return query[rows, (batch.lengths - 1).clamp(min=0)]

    def scores(self, tables: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Scores of all items, (B, n_items)."""
        scores = self.last_query(tables, batch) @ tables[self.dot_head().items].T
        return scores if self.bias is None else scores + self.bias

    def logits(
        self, tables: Mapping[str, Tensor], batch: Batch, noise: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Task -> logits (B, N)."""
        return self.task_logits(self.values(tables, batch, noise))

    def task_logits(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Task -> logits (B, N) out of all values of a batch."""
        head = self.architecture.head
        if not isinstance(head, form.LogitHead):
            raise AgentError(
                "the document has no head for candidates", hint="give it a logits head"
            )
        return {
            task: self.tasks[_key(task)](values[name])[..., 0] for task, name in head.tasks.items()
        }

    def dot_head(self) -> form.DotHead:
        """The head of a document that retrieves; AgentError for one that ranks."""
        head = self.architecture.head
        if not isinstance(head, form.DotHead):
            raise AgentError(
                "the document has no head for the catalogue", hint="give it a dot head"
            )
        return head

    def _values(
        self,
        block: Any,
        values: Mapping[str, Tensor],
        batch: Batch | None,
        noise: torch.Generator | None,
    ) -> dict[str, Tensor]:
        key = _key(block.name)
        module = self.blocks[key] if key in self.blocks else None  # noqa: SIM401
        given = [values[name] for name in block.inputs()]
        return _COMPUTE[type(block)](block, module, given, batch, noise)


def count_weights(architecture: form.Architecture, n_users: int, n_items: int) -> int:
    """Weights of the document, without those of features; nothing is allocated."""
    with torch.device("meta"):
        network = Network(architecture, Sizes(n_users, n_items))
    return sum(weight.numel() for weight in network.parameters())


def _key(name: str) -> str:
    # A ModuleDict refuses names that it has methods for, "items" and "forward" among them.
    return f"@{name}"


class TableModule(nn.Module):
    """Free vectors."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, width))


class FeatureModule(nn.Module):
    """Vectors made of features: a sum of category vectors, and a projection of numbers and tags."""

    def __init__(self, of: form.Entity, shape: EntityShape, width: int) -> None:
        super().__init__()
        self.of = of
        self.categories = nn.Parameter(torch.empty(sum(shape.cardinality), width))
        self.dense = nn.Parameter(torch.empty(shape.n_dense, width))
        self._starts = torch.tensor([0, *shape.cardinality], dtype=torch.int64).cumsum(0)[:-1]
        self._codes: Tensor | None = None
        self._values: Tensor | None = None

    def give(self, features: FeatureTensors) -> None:
        """The features of all rows."""
        self._codes = features.codes + self._starts.to(features.codes.device)
        self._values = torch.cat([features.tags, features.numeric], 1)

    def forward(self) -> Tensor:
        """The vectors of all rows, (n, width)."""
        if self._codes is None or self._values is None:
            raise AgentError("a feature table was read before its features were given")
        vectors = self._values @ self.dense
        # Column by column: embedding_bag, as fast alone, cannot be stacked (torch.func.vmap).
        for codes in self._codes.unbind(1):
            vectors = vectors + functional.embedding(codes, self.categories)
        return vectors


class PropagationModule(nn.Module):
    """Mean of 0 to ``layers`` steps over the normalised graph of users and items."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.graph: Tensor | None = None

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The smoothed tables."""
        if self.graph is None:
            raise AgentError("a graph was read before it was given")
        x = torch.cat([users, items])
        total = x
        for _ in range(self.layers):
            x = _Propagate.apply(self.graph, x)  # type: ignore[no-untyped-call]
            total = total + x
        mean = total / (self.layers + 1)
        return mean[: len(users)], mean[len(users) :]


class _Propagate(torch.autograd.Function):
    """graph @ x for a symmetric graph (CSR): its gradient is the same product, nothing transposed.

    torch.sparse.mm would build the transposed matrix anew in every backward pass, and takes more
    than twice as long for the product itself.
    """

    @staticmethod
    def forward(ctx: Any, graph: Tensor, x: Tensor) -> Tensor:
        ctx.graph = graph
        return _product(graph, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, _product(ctx.graph, gradients[0].contiguous())


def _product(graph: Tensor, x: Tensor) -> Tensor:
    """A CSR matrix times ``x``: weighted sums of the rows that each row of the matrix names."""
    return functional.embedding_bag(
        graph.col_indices(),
        x,
        graph.crow_indices(),
        mode="sum",
        per_sample_weights=graph.values(),
        include_last_offset=True,
    )


def _module(
    block: Any, shapes: Mapping[str, Shape], sizes: Sizes, written: Written | None
) -> nn.Module | None:
    if isinstance(block, form.Embedding):
        return TableModule(sizes.n_users if block.of == "users" else sizes.n_items, block.width)
    if isinstance(block, form.FeatureEmbedding):
        shape = sizes.users if block.of == "users" else sizes.items
        return FeatureModule(block.of, shape, block.width)
    if isinstance(block, form.GraphPropagation):
        return PropagationModule(block.layers)
    if isinstance(block, form.Generated):
        width = shapes[block.name].width
        most = form.most_weights(width)
        return modules.WrittenModule(written(width) if written else modules.StandIn(width, most))
    if isinstance(block, form.Gate):
        return modules.GateModule(shapes[block.a].width)
    made = _MODULES.get(type(block))
    return None if made is None else made(block, shapes[block.inputs()[0]].width)


_MODULES: dict[type, Callable[[Any, int], nn.Module]] = {
    form.Positions: modules.PositionsModule,
    form.Mlp: modules.MlpModule,
    form.Norm: lambda block, width: nn.LayerNorm(width),
    form.Cross: modules.CrossModule,
    form.Attention: modules.AttentionModule,
    form.Recurrent: modules.RecurrentModule,
    form.Convolution: modules.ConvolutionModule,
    form.TargetAttention: modules.TargetAttentionModule,
    form.Pooling: modules.PoolingModule,
    form.Mixture: modules.MixtureModule,
}


def _lookup(block: Any, module: Any, given: Any, batch: Any, noise: Any) -> dict[str, Tensor]:
    index = {"user": batch.user, "history": batch.items, "candidates": batch.candidates}[block.at]
    vectors = functional.embedding(index.clamp(min=0), given[0])
    if block.at != "history":  # pads of a history are masked where they could matter
        vectors = vectors * (index >= 0)[..., None]
    if block.scale:
        vectors = vectors * vectors.shape[-1] ** 0.5
    return {block.name: modules.drop(vectors, block.dropout, noise)}


def _mixture(block: Any, module: Any, given: Any, batch: Any, noise: Any) -> dict[str, Tensor]:
    outputs, shares = module(given[0])
    values = dict(zip(form.outputs_of(block), outputs, strict=True))
    named = {f"{name}.share": share for name, share in zip(values, shares, strict=True)}
    return {**values, **named}


def _side_by_side(given: list[Tensor]) -> list[Tensor]:
    """Users' vectors repeated for each candidate when some of the values are for candidates."""
    wide = max((x for x in given), key=lambda x: x.dim())
    if wide.dim() < 3 or all(x.dim() == 3 for x in given):
        return given
    return [x if x.dim() == 3 else x[:, None].expand(-1, wide.shape[1], -1) for x in given]


def _factorise(given: list[Tensor]) -> Tensor:
    stacked = torch.stack([x.contiguous() for x in _side_by_side(given)])
    return 0.5 * (stacked.sum(0).square() - stacked.square().sum(0)).sum(-1, keepdim=True)


def _similar(given: list[Tensor]) -> Tensor:
    candidate, *others = given
    columns = [(candidate * (x if x.dim() == 3 else x[:, None])).sum(-1) for x in others]
    similar: Tensor = torch.stack(columns, -1) * candidate.shape[-1] ** -0.5
    return similar


_COMPUTE: dict[type, Callable[[Any, Any, Any, Any, Any], dict[str, Tensor]]] = {
    form.Embedding: lambda b, m, x, batch, noise: {b.name: m.weight},
    form.FeatureEmbedding: lambda b, m, x, batch, noise: {b.name: m()},
    form.GraphPropagation: lambda b, m, x, batch, noise: dict(
        zip(form.outputs_of(b), m(*x), strict=True)
    ),
    form.Lookup: _lookup,
    form.Context: lambda b, m, x, batch, noise: {b.name: batch.context},
    form.Positions: lambda b, m, x, batch, noise: {b.name: m(x[0], batch.lengths, noise)},
    form.Mlp: lambda b, m, x, batch, noise: {b.name: m(x[0], noise)},
    form.Norm: lambda b, m, x, batch, noise: {b.name: m(x[0])},
    form.Cross: lambda b, m, x, batch, noise: {b.name: m(x[0])},
    form.Factorisation: lambda b, m, x, batch, noise: {b.name: _factorise(x)},
    form.Similarity: lambda b, m, x, batch, noise: {b.name: _similar(x)},
    form.Attention: lambda b, m, x, batch, noise: {b.name: m(x[0], batch.times, noise)},
    form.Recurrent: lambda b, m, x, batch, noise: {b.name: m(x[0], noise)},
    form.Convolution: lambda b, m, x, batch, noise: {b.name: m(x[0], noise)},
    form.TargetAttention: lambda b, m, x, batch, noise: {b.name: m(x[0], x[1], batch.lengths)},
    form.Pooling: lambda b, m, x, batch, noise: {b.name: m(x[0], batch.lengths)},
    form.Mixture: _mixture,
    form.Generated: lambda b, m, x, batch, noise: {b.name: m(x[0], noise)},
    form.Gate: lambda b, m, x, batch, noise: {b.name: m(x[0], x[1])},
    form.Concat: lambda b, m, x, batch, noise: {b.name: torch.cat(_side_by_side(x), -1)},
    form.Add: lambda b, m, x, batch, noise: {b.name: sum(x[1:], x[0])},
}
