"""EASE: a closed-form linear item-item retriever (Steck 2019, arXiv 1905.03375)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.agent import AgentConfig, Budget, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.common import (
    RETRIEVAL_LOOP,
    RETRIEVAL_REWARD,
    item_counts,
    recency_weights,
    tie_breaker,
)
from agenticrs.agents.retrieval.gram import binary_pairs, gram
from agenticrs.agents.retrieval.ials import transposed
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange

MAX_ITEMS = 20_000
"""Catalogues above this are refused unless asked for: the weights alone would take 1.6 GB."""
_CELLS_AT_ONCE = 32_000_000
_FEW_USERS = 0.8
"""Below this ratio of users to items it takes less work to invert users x users."""


class EaseConfig(AgentConfig):
    """Regularisation, and how history items vote."""

    l2: float = Field(default=300.0, gt=0)
    """Ridge term added to the diagonal of the Gram matrix."""
    popularity_penalty: float = Field(default=0.0, ge=0, le=1)
    """Scores are divided by the item's count to this power: 0 is the paper's model."""
    half_life: float = Field(default=10.0, gt=0)
    """Entries of a user's history after which a vote weighs half."""
    max_items: int = Field(default=MAX_ITEMS, ge=1, le=46_000)
    """Catalogues above this are refused; LAPACK's indices end the range. 40,000 items: 6.4 GB."""


class Ease(Retriever[EaseConfig]):
    """Scores X_u @ B with B = I - P / diag(P), P = (X^T X + l2 I)^-1.

    Memory: n_items^2 float32, and the smaller of n_items^2 and n_users^2 once more while fitting.
    """

    config_type = EaseConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="ease",
        kind="model",
        role="retrieval",
        summary="A linear auto-encoder over histories, solved in closed form.",
        paper="Steck 2019, Embarrassingly shallow autoencoders for sparse data",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="l2", low=5.0, high=5000.0, log=True),
                FloatRange(name="popularity_penalty", low=0.0, high=0.5),
                FloatRange(name="half_life", low=2.0, high=500.0, log=True),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Solve the ridge regression of every item on all others."""
        super().fit(data, budget)
        distinct = binary_pairs(data.histories, self.n_items)
        counts = item_counts(distinct, self.n_items)
        if self.n_users < _FEW_USERS * self.n_items:
            weights = self._by_users(distinct, budget)
        else:
            weights = gram(distinct, self.n_items)
            budget.report(0.3, "counted pairs")
            weights.diagonal().add_(self.config.l2)
            weights = inverse(weights)
        weights /= -weights.diagonal().clone()
        weights.fill_diagonal_(0.0)
        weights *= counts.clamp(min=1.0) ** -self.config.popularity_penalty
        self.weights = weights
        self.prior = tie_breaker(item_counts(data.histories, self.n_items))
        budget.report(1.0, "solved")

    def _by_users(self, distinct: UserBatch, budget: Budget) -> Tensor:
        """P out of the users' matrix: l2 P = I - X^T (X X^T + l2 I)^-1 X (Woodbury), (n, n)."""
        users_of = transposed(distinct, self.n_items)
        small = gram(users_of, self.n_users)
        budget.report(0.3, "counted pairs")
        small.diagonal().add_(self.config.l2)
        small = inverse(small)
        budget.report(0.7, "solved")
        found = small.new_empty(self.n_items, self.n_items)
        rows_at_once = max(1, _CELLS_AT_ONCE // self.n_items)
        for start in range(0, self.n_items, rows_at_once):
            stop = min(start + rows_at_once, self.n_items)
            block = users_of.take(torch.arange(start, stop, device=found.device))
            half = _sums(block, small).T.contiguous()
            found[start:stop] = _sums(users_of, half).T  # both factors are symmetric
        found.diagonal().sub_(1.0)
        return found.div_(-self.config.l2)

    def score(self, users: UserBatch) -> Tensor:
        """Sum the rows of B over the history, recent entries weighing more."""
        votes = functional.embedding_bag(
            users.items,
            self.weights,
            users.offsets,
            mode="sum",
            per_sample_weights=recency_weights(users, self.config.half_life),
            include_last_offset=True,
        )
        return votes + self.prior

    def state(self) -> dict[str, Tensor]:
        """The item-item weights and popularity as a tie-breaker."""
        return {"weights": self.weights.cpu(), "prior": self.prior.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the weights."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.weights = state["weights"].to(self.device)
        self.prior = state["prior"].to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """One weight for each pair of items."""
        limit = cast(EaseConfig, config).max_items
        if n_items > limit:
            raise AgentError(
                f"ease needs n_items^2 weights: {n_items:,} items are more than {limit:,}",
                hint="use itemknn or sasrec for a catalogue of this size, or raise max_items",
            )
        return n_items * (n_items + 1)


def inverse(matrix: Tensor) -> Tensor:
    """Inverse of a symmetric positive definite matrix: float32, or float64 where that fails.

    Memory: one further matrix, which is the answer.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        factor, failed = torch.linalg.cholesky_ex(matrix.to(torch.float64))
        if int(failed):
            raise AgentError("ease cannot invert its Gram matrix", hint="raise l2")
    inverted = torch.cholesky_inverse(factor, out=factor)
    return inverted.mT.to(matrix.dtype)  # LAPACK's is column by column; it is symmetric


def _sums(rows: UserBatch, table: Tensor) -> Tensor:
    """For each row the sum of the table's rows that it names: a sparse matrix times the table."""
    return functional.embedding_bag(
        rows.items, table, rows.offsets, mode="sum", include_last_offset=True
    )
