"""A reference written by hand: DCN-V2, crosses beside a deep part (arXiv 2008.13535).

It sees a user, the history before a moment, and candidate items; what the ids stand for and where
candidates come from is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from agenticrs.agents.training_data import EntityShape, FeatureTensors

_SCALARS = 5


@dataclass(frozen=True)
class Question:
    """Whom and what to score.

    Shapes: ``user`` (B,), ``history`` (B, H) newest last with -1 pads on the left, ``length``
    (B,) full length of the history, ``items`` (B, N) candidates.
    """

    user: Tensor
    history: Tensor
    length: Tensor
    items: Tensor


class Entity(nn.Module):
    """Vectors of users or of items: an own vector for the id plus what the features say.

    The feature tables are buffers, so that they travel with the weights.
    """

    def __init__(self, n: int, features: FeatureTensors | None, shape: EntityShape, size: int):
        super().__init__()
        self.ids = nn.Parameter(torch.empty(n, size))
        self.categories = nn.Parameter(torch.empty(sum(shape.cardinality), size))
        self.dense = nn.Parameter(torch.empty(shape.n_dense, size))
        self.codes: Tensor
        self.values: Tensor
        codes = torch.zeros(n, len(shape.cardinality), dtype=torch.int64)
        values = torch.zeros(n, shape.n_dense)
        if features is not None:
            codes[:n] = features.codes.cpu()
            values[:n] = torch.cat([features.tags, features.numeric], 1).cpu()
        starts = torch.tensor([0, *shape.cardinality], dtype=torch.int64).cumsum(0)[:-1]
        self.register_buffer("codes", codes + starts)
        self.register_buffer("values", values)

    def forward(self) -> Tensor:
        """The vectors of all, (n, size)."""
        vectors: Tensor = self.ids + self.values @ self.dense
        if self.codes.shape[1]:
            vectors = vectors + functional.embedding_bag(self.codes, self.categories, mode="sum")
        return vectors


class CrossLayer(nn.Module):
    """x0 * (W x + b) + x: each layer raises the degree of the crosses by one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:
        """The next layer's input from the first one's and this one's, (..., width)."""
        crossed: Tensor = x0 * self.linear(x) + x
        return crossed


class CrossNetwork(nn.Module):
    """Logits for candidates from user, item, history and their similarities.

    The input x0 is [user, item, mean of the history, newest item, similarities and counts].
    """

    def __init__(
        self,
        users: Entity,
        items: Entity,
        popularity: Tensor,
        *,
        size: int,
        crosses: int,
        deep: int,
    ) -> None:
        super().__init__()
        self.users = users
        self.items = items
        self.popularity: Tensor
        self.register_buffer("popularity", popularity)
        self.width = 4 * size + _SCALARS
        self.crosses = nn.ModuleList(CrossLayer(self.width) for _ in range(crosses))
        self.deep = nn.ModuleList([nn.Linear(self.width, deep), nn.Linear(deep, deep)])
        self.out = nn.Linear(self.width + deep, 1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights."""
        for name, weight in self.named_parameters():
            if name.startswith(("users.", "items.")):
                nn.init.normal_(weight, std=0.1, generator=generator)
            elif weight.dim() == 2:
                nn.init.xavier_normal_(weight, generator=generator)
            else:
                nn.init.zeros_(weight)

    def tables(self) -> tuple[Tensor, Tensor]:
        """The vectors of all users and of all items; ready to be kept once training is over."""
        return self.users(), self.items()

    def forward(self, question: Question, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Logits, (B, N)."""
        users, items = tables
        x0 = self._input(question, users[question.user], items)
        x = x0
        for layer in self.crosses:
            x = layer(x0, x)
        hidden = x0
        for layer in self.deep:
            hidden = functional.relu(layer(hidden))
        logits: Tensor = self.out(torch.cat([x, hidden], -1))
        return logits[..., 0]

    def _input(self, question: Question, user: Tensor, table: Tensor) -> Tensor:
        item = functional.embedding(question.items, table)
        past = question.history
        real = (past >= 0)[..., None]
        vectors = functional.embedding(past.clamp(min=0), table) * real
        mean = vectors.sum(1) / real.sum(1).clamp(min=1)
        newest = vectors[:, -1]
        scale = table.shape[1] ** -0.5
        context = torch.stack([user, mean, newest], 1)
        similar = torch.einsum("bnd,bcd->bnc", item, context) * scale
        count = self.popularity[question.items][..., None]
        length = torch.log1p(question.length.to(item.dtype))[:, None, None].expand_as(count)
        wide = context.flatten(1)[:, None].expand(-1, item.shape[1], -1)
        return torch.cat([wide, item, similar, count, length], -1)
