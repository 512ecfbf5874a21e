"""Re-rankers that pick item after item: what they share. All users of a batch pick at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent, AgentConfig, Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.item_vectors import item_vectors
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import ClosedLoop, Port

RERANKING_LOOP = ClosedLoop(
    inputs=(Port.CANDIDATES,),
    output=Port.CANDIDATES,
    executor="the surface shows the list in this order",
    feedback="click",
)
_CELLS_AT_ONCE = 16_000_000


class GreedyConfig(AgentConfig):
    """How deep the re-ranking goes."""

    depth: int = Field(default=50, ge=1)
    """How many candidates are re-ranked; those below keep their order and follow."""


ConfigT = TypeVar("ConfigT", bound=GreedyConfig)


@dataclass
class Pool:
    """The candidates that may be picked, (B, N), and which of them are gone.

    ``relevance`` is the incoming score scaled to [0, 1] within each list.
    """

    candidates: Candidates
    relevance: Tensor
    taken: Tensor

    def take(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pick the largest ``value`` (B, N) that is left: its place, item (-1 for none), value."""
        best = value.masked_fill(self.taken, -torch.inf).max(1)
        row = torch.arange(len(value), device=value.device)
        items = self.candidates.items[row, best.indices]
        self.taken[row, best.indices] = True
        return best.indices, items.masked_fill(best.values == -torch.inf, -1), best.values


class GreedyReranker(Agent[ConfigT]):
    """Re-orders the head of a list; a subclass says in which order it picks."""

    def floats_each(self) -> int:
        """Floats that are held for each candidate; bounds the memory of a batch."""
        return 1

    @abstractmethod
    def _pick(self, pool: Pool, users: UserBatch, count: int) -> Candidates:
        """``count`` picks for every user, in order, with scores that do not rise."""

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The first input's candidates in their new order, k at most."""
        (source,) = inputs
        depth = min(self.config.depth, source.items.shape[1])
        at_once = max(1, _CELLS_AT_ONCE // max(1, depth * self.floats_each()))
        parts = []
        for start in range(0, len(source.items), at_once):
            rows = torch.arange(start, min(start + at_once, len(source.items)))
            part = Candidates(source.items[rows], source.scores[rows])
            own = users.take(rows.to(users.users.device))
            parts.append(self._reranked(part, own, depth, k))
        if not parts:
            return source.top(k)
        return Candidates(
            torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
        )

    def _reranked(self, source: Candidates, users: UserBatch, depth: int, k: int) -> Candidates:
        source = lists.compact(source, source.items >= 0)
        top = source.top(depth)
        head = self._pick(Pool(top, scaled(top), top.items < 0), users, min(depth, k))
        tail = source.items[:, depth:k]
        lowest = head.scores[:, -1:].nan_to_num(neginf=0.0)
        below = lowest - torch.arange(1, tail.shape[1] + 1, device=tail.device)
        return Candidates(
            torch.cat([head.items, tail], 1),
            torch.cat([head.scores, below.masked_fill(tail < 0, -torch.inf)], 1),
        )


class VectorReranker(GreedyReranker[ConfigT]):
    """A re-ranker that knows what each item is about: ``vectors`` (n_items, d), unit or zero."""

    vectors: Tensor

    def floats_each(self) -> int:
        """The item's vector."""
        return self.vectors.shape[1]

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Look up what each item is about."""
        super().fit(data, budget)
        self.vectors = item_vectors(data)
        budget.report(1.0, "vectors ready")

    def state(self) -> dict[str, Tensor]:
        """The item vectors."""
        return {"vectors": self.vectors.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the item vectors."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.vectors = state["vectors"].to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """A vector for each item; its length depends on the tags, which are not known here."""
        return 64 * n_items


def scaled(pool: Candidates) -> Tensor:
    """Scores of each row moved to [0, 1]; all 1 where they do not differ."""
    shown = pool.items >= 0
    high = pool.scores.masked_fill(~shown, -torch.inf).amax(1, keepdim=True)
    low = pool.scores.masked_fill(~shown, torch.inf).amin(1, keepdim=True)
    spread = high - low
    within = (pool.scores - low) / spread.clamp(min=1e-12)
    return torch.where(spread > 1e-12, within, 1.0).masked_fill(~shown, 0.0)


def descending(items: list[Tensor]) -> Candidates:
    """Picks in order, with scores that only say the order: for rules whose values may rise."""
    picked = torch.stack(items, 1)
    order = -torch.arange(picked.shape[1], device=picked.device, dtype=torch.float32)
    return Candidates(picked, order.expand(picked.shape).masked_fill(picked < 0, -torch.inf))


def rows_of(table: Tensor, items: Tensor) -> Tensor:
    """Rows of ``table`` for items (B, N), zeros for pads and for items that it does not know."""
    known = (items >= 0) & (items < len(table))
    found = table[items.clamp(min=0, max=len(table) - 1)]
    return found * (known[..., None] if found.dim() > items.dim() else known)
