"""Maximal marginal relevance: relevant, and unlike what stands above it.

Carbonell & Goldstein 1998, The use of MMR, diversity-based reranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent, AgentConfig, Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.item_vectors import item_vectors
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import (
    AgentSpec,
    ClosedLoop,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
    Port,
)

_CELLS_AT_ONCE = 16_000_000


class MmrConfig(AgentConfig):
    """How much relevance is given up for variety."""

    trade_off: float = Field(default=0.8, ge=0, le=1)
    """1 keeps the order by relevance, 0 asks only for variety."""
    depth: int = Field(default=50, ge=1)
    """How many candidates are re-ranked; those below keep their order and follow."""


class Mmr(Agent[MmrConfig]):
    """Picks item after item: argmax of t rel(i) - (1 - t) max over picked j of cos(v_i, v_j).

    Relevance is the incoming score, scaled to [0, 1] within each user's list. Vectors come from
    tags, else categories, else co-occurrence; an item without one resembles nothing.
    """

    config_type = MmrConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="mmr",
        kind="functional",
        role="reranking",
        summary="Re-ranks for variety: each item should differ from those above it.",
        paper="Carbonell & Goldstein 1998, The use of MMR, diversity-based reranking",
        loop=ClosedLoop(
            inputs=(Port.CANDIDATES,),
            output=Port.CANDIDATES,
            executor="the surface shows the list in this order",
            feedback="click",
        ),
        inner_reward=InnerReward(metric="relevance_diversity", k=10),
        space=DecisionSpace(
            parameters=(
                FloatRange(name="trade_off", low=0.3, high=1.0),
                IntRange(name="depth", low=10, high=100, log=True),
            )
        ),
        outer_weight=0.5,
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Look up what each item is about."""
        super().fit(data, budget)
        self.vectors = item_vectors(data)
        budget.report(1.0, "vectors ready")

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The first input's candidates in their new order, k at most."""
        (source,) = inputs
        depth = min(self.config.depth, source.items.shape[1])
        rows = max(1, _CELLS_AT_ONCE // max(1, depth * self.vectors.shape[1]))
        parts = []
        for start in range(0, len(source.items), rows):
            part = Candidates(
                source.items[start : start + rows], source.scores[start : start + rows]
            )
            parts.append(self._reranked(part, depth, k))
        if not parts:
            return source.top(k)
        return Candidates(
            torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
        )

    def _reranked(self, source: Candidates, depth: int, k: int) -> Candidates:
        source = lists.compact(source, source.items >= 0)
        head = self._picked(source.top(depth), min(depth, k))
        tail = source.items[:, depth:k]
        lowest = head.scores[:, -1:].nan_to_num(neginf=0.0)
        below = lowest - torch.arange(1, tail.shape[1] + 1, device=tail.device)
        return Candidates(
            torch.cat([head.items, tail], 1),
            torch.cat([head.scores, below.masked_fill(tail < 0, -torch.inf)], 1),
        )

    def _picked(self, pool: Candidates, count: int) -> Candidates:
        """``count`` picks for every user, one rank at a time."""
        t = self.config.trade_off
        relevance = _scaled(pool)
        known = (pool.items >= 0) & (pool.items < len(self.vectors))
        vectors = self.vectors[pool.items.clamp(min=0, max=len(self.vectors) - 1)]
        vectors = vectors * known[:, :, None]
        closest = torch.zeros_like(relevance)
        taken = pool.items < 0
        row = torch.arange(len(pool.items), device=pool.items.device)
        items, scores = [], []
        for _ in range(count):
            value = (t * relevance - (1 - t) * closest).masked_fill(taken, -torch.inf)
            best = value.max(1)
            items.append(pool.items[row, best.indices].masked_fill(best.values == -torch.inf, -1))
            scores.append(best.values)
            taken[row, best.indices] = True
            likeness = torch.einsum("bnd,bd->bn", vectors, vectors[row, best.indices])
            closest = torch.maximum(closest, likeness)
        return Candidates(torch.stack(items, 1), torch.stack(scores, 1))

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


def _scaled(pool: Candidates) -> Tensor:
    """Scores of each row moved to [0, 1]; all 1 where they do not differ."""
    shown = pool.items >= 0
    high = pool.scores.masked_fill(~shown, -torch.inf).amax(1, keepdim=True)
    low = pool.scores.masked_fill(~shown, torch.inf).amin(1, keepdim=True)
    spread = high - low
    scaled = (pool.scores - low) / spread.clamp(min=1e-12)
    return torch.where(spread > 1e-12, scaled, 1.0).masked_fill(~shown, 0.0)
