"""A document as a torch module: tables first, then whatever a batch needs of them.

Built on the meta device it costs nothing, which is how sizes are estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agenticrs.agents.grammar import document as form
from agenticrs.agents.grammar import modules
from agenticrs.agents.grammar.compute import COMPUTE, Written, module_of
from agenticrs.agents.grammar.shapes import infer
from agenticrs.agents.grammar.tables import FeatureModule, PropagationModule, Sizes, TableModule
from agenticrs.agents.training_data import FeatureTensors
from agenticrs.platform.errors import AgentError


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
            module = module_of(block, self.shapes, sizes, written)
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
        return COMPUTE[type(block)](block, module, given, batch, noise)


def count_weights(architecture: form.Architecture, n_users: int, n_items: int) -> int:
    """Weights of the document, without those of features; nothing is allocated."""
    with torch.device("meta"):
        network = Network(architecture, Sizes(n_users, n_items))
    return sum(weight.numel() for weight in network.parameters())


def _key(name: str) -> str:
    # A ModuleDict refuses names that it has methods for, "items" and "forward" among them.
    return f"@{name}"
