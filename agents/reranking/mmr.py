"""Maximal marginal relevance: relevant, and unlike what stands above it.

Carbonell & Goldstein 1998, The use of MMR, diversity-based reranking.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.reranking.greedy import (
    RERANKING_LOOP,
    GreedyConfig,
    Pool,
    VectorReranker,
    rows_of,
)
from agenticrs.registry.spec import (
    AgentSpec,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
)


class MmrConfig(GreedyConfig):
    """How much relevance is given up for variety."""

    trade_off: float = Field(default=0.8, ge=0, le=1)
    """1 keeps the order by relevance, 0 asks only for variety."""


class Mmr(VectorReranker[MmrConfig]):
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
        loop=RERANKING_LOOP,
        inner_reward=InnerReward(metric="relevance_diversity", k=10),
        space=DecisionSpace(
            parameters=(
                FloatRange(name="trade_off", low=0.3, high=1.0),
                IntRange(name="depth", low=10, high=100, log=True),
            )
        ),
        outer_weight=0.5,
    )

    def _pick(self, pool: Pool, users: UserBatch, count: int) -> Candidates:
        t = self.config.trade_off
        vectors = rows_of(self.vectors, pool.candidates.items)
        closest = torch.zeros_like(pool.relevance)
        row = torch.arange(len(vectors), device=vectors.device)
        items, scores = [], []
        for _ in range(count):
            place, item, value = pool.take(t * pool.relevance - (1 - t) * closest)
            items.append(item)
            scores.append(value)
            likeness = torch.einsum("bnd,bd->bn", vectors, vectors[row, place])
            closest = torch.maximum(closest, likeness)
        return Candidates(torch.stack(items, 1), torch.stack(scores, 1))
