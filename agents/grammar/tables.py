"""A document's tables as torch modules: free vectors, vectors of features, a smoothed graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from agenticrs.agents.grammar import document as form
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


class TableModule(nn.Module):
    """Free vectors."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, width))


class FeatureModule(nn.Module):
    """Vectors made of features: a sum of category vectors, and a projection of numbers and tags.

    Where there are titles and ``words`` is above 0, so many vectors for words are added in the
    mean over each title.
    """

    def __init__(self, of: form.Entity, shape: EntityShape, width: int, words: int = 0) -> None:
        super().__init__()
        self.of = of
        self.categories = nn.Parameter(torch.empty(sum(shape.cardinality), width))
        self.dense = nn.Parameter(torch.empty(shape.n_dense, width))
        if words and shape.titled:
            self.words = nn.Parameter(torch.empty(words, width))
        self._starts = torch.tensor([0, *shape.cardinality], dtype=torch.int64).cumsum(0)[:-1]
        self._codes: Tensor | None = None
        self._values: Tensor | None = None
        self._title: Tensor | None = None

    def give(self, features: FeatureTensors) -> None:
        """The features of all rows."""
        self._codes = features.codes + self._starts.to(features.codes.device)
        self._values = torch.cat([features.tags, features.numeric], 1)
        self._title = features.words

    def forward(self) -> Tensor:
        """The vectors of all rows, (n, width)."""
        if self._codes is None or self._values is None:
            raise AgentError("a feature table was read before its features were given")
        vectors = self._values @ self.dense
        # Column by column: embedding_bag, as fast alone, cannot be stacked (torch.func.vmap).
        for codes in self._codes.unbind(1):
            vectors = vectors + functional.embedding(codes, self.categories)
        if self._title is None or not hasattr(self, "words"):
            return vectors
        real = (self._title >= 0).to(vectors.dtype)
        share = real / real.sum(1, keepdim=True).clamp(min=1.0)
        for word, weight in zip(self._title.unbind(1), share.unbind(1), strict=True):
            rows = functional.embedding(word.clamp(min=0) % len(self.words), self.words)
            vectors = vectors + weight[:, None] * rows
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
