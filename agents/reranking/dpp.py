"""Determinantal point process: the list whose items span the largest volume.

Greedy maximum a posteriori inference with incremental Cholesky rows: Chen, Zhang & Zhou 2018,
arXiv 1709.05135, algorithm 1; the kernel is that of their equation 8.
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
    descending,
    rows_of,
)
from agenticrs.registry.spec import (
    AgentSpec,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
)

_SMALLEST = 1e-10


class DppConfig(GreedyConfig):
    """How much relevance counts beside variety."""

    relevance: float = Field(default=0.8, ge=0, lt=1)
    """Theta: 0 asks only for variety, close to 1 keeps the order by relevance."""
    similarity: float = Field(default=0.9, ge=0, lt=1)
    """Factor on the likeness of two items: below 1 no item is forbidden by another one."""


class Dpp(VectorReranker[DppConfig]):
    """Picks by the log determinant of L = diag(q) S diag(q), q = exp(alpha r), S the likeness."""

    config_type = DppConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="dpp",
        kind="functional",
        role="reranking",
        summary="Re-ranks so that the shown items, weighed by relevance, span the most.",
        paper="Chen, Zhang & Zhou 2018, Fast greedy MAP inference for DPP",
        loop=RERANKING_LOOP,
        inner_reward=InnerReward(metric="relevance_diversity", k=10),
        on_request=True,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="relevance", low=0.3, high=0.99),
                FloatRange(name="similarity", low=0.5, high=0.99),
                IntRange(name="depth", low=10, high=100, log=True),
            )
        ),
        outer_weight=0.5,
    )

    def floats_each(self) -> int:
        """The vector, and a row of the Cholesky factor."""
        return super().floats_each() + self.config.depth

    def _pick(self, pool: Pool, users: UserBatch, count: int) -> Candidates:
        alpha = self.config.relevance / (2 * (1 - self.config.relevance))
        quality = torch.exp(alpha * pool.relevance)
        vectors = rows_of(self.vectors, pool.candidates.items)
        row = torch.arange(len(vectors), device=vectors.device)
        # Items resemble themselves fully, also those of which nothing is known.
        gain = quality.square()
        known = vectors.new_zeros(*quality.shape, count)
        items = []
        for step in range(count):
            place, item, _ = pool.take(gain.clamp(min=_SMALLEST).log())
            items.append(item)
            likeness = torch.einsum("bnd,bd->bn", vectors, vectors[row, place])
            kernel = quality * self.config.similarity * likeness * quality[row, place][:, None]
            kernel[row, place] = quality[row, place].square()
            mine = known[row, place]
            root = gain[row, place].clamp(min=_SMALLEST).sqrt()[:, None]
            rest = (kernel - torch.einsum("bnk,bk->bn", known, mine)) / root
            known[:, :, step] = rest
            gain = gain - rest.square()
        return descending(items)
