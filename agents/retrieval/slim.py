"""SLIM: a sparse, non-negative linear item-item model (Ning & Karypis 2011), solved by ADMM.

The alternating directions of Steck et al. 2020 (ADMM SLIM, WSDM, section 3) solve all items at
once: every step is a product of matrices.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.retrieval.common import (
    RETRIEVAL_LOOP,
    RETRIEVAL_REWARD,
    item_counts,
    tie_breaker,
)
from agenticrs.agents.retrieval.ease import MAX_ITEMS, inverse
from agenticrs.agents.retrieval.gram import binary_pairs, gram_rows
from agenticrs.agents.retrieval.neighbours import NeighbourConfig, NeighbourRetriever
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange


class SlimConfig(NeighbourConfig):
    """Regularisation of the weights."""

    l1: float = Field(default=3.0, ge=0)
    """Weight of the absolute values: more of it, fewer neighbours."""
    l2: float = Field(default=300.0, gt=0)
    """Weight of the squares, added to the diagonal of the Gram matrix."""
    penalty: float = Field(default=1000.0, gt=0)
    """ADMM's rho: how fast both halves of the problem must agree."""
    iterations: int = Field(default=20, ge=1)
    """Steps of ADMM; the paper finds ten to be enough."""


class Slim(NeighbourRetriever[SlimConfig]):
    """min |X - XB|^2 / 2 + l2 |B|^2 / 2 + l1 |B|_1 with B >= 0 and a zero diagonal.

    Memory: five times n_items^2 float32 while fitting.
    """

    config_type = SlimConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="slim",
        kind="model",
        role="retrieval",
        summary="Sparse non-negative weights between items, learnt for all at once.",
        paper="Ning & Karypis 2011, SLIM; Steck et al. 2020, ADMM SLIM",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="l1", low=0.1, high=50.0, log=True),
                FloatRange(name="l2", low=5.0, high=5000.0, log=True),
                IntRange(name="neighbours", low=20, high=400, log=True),
                FloatRange(name="half_life", low=2.0, high=500.0, log=True),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Run ADMM and keep each item's largest weights."""
        super().fit(data, budget)
        config = self.config
        gram = gram_rows(binary_pairs(data.histories, self.n_items), self.n_items, 0, self.n_items)
        regularised = gram.clone()
        regularised.diagonal().add_(config.l2 + config.penalty)
        inverted = inverse(regularised)
        del regularised
        fitted = inverted @ gram
        del gram
        sparse, dual = torch.zeros_like(fitted), torch.zeros_like(fitted)
        for step in range(config.iterations):
            dense = torch.addmm(fitted, inverted, sparse - dual, alpha=config.penalty)
            dense -= inverted * (dense.diagonal() / inverted.diagonal())
            dual += dense
            sparse = (dual - config.l1 / config.penalty).clamp(min=0.0)
            dual -= sparse
            budget.report((step + 1) / config.iterations, f"step {step + 1}")
        sparse.fill_diagonal_(0.0)
        best = sparse.topk(min(config.neighbours, self.n_items), dim=1)
        self.near, self.similarity = best.indices, best.values
        self.prior = tie_breaker(item_counts(data.histories, self.n_items))

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """What it keeps; catalogues that would not fit while fitting are refused."""
        if n_items > MAX_ITEMS:
            raise AgentError(
                f"slim needs n_items^2 weights: {n_items:,} items are more than {MAX_ITEMS:,}",
                hint="use itemknn or sasrec for a catalogue of this size",
            )
        return super().static_check(config, n_users, n_items)
