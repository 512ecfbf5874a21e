"""iALS: matrix factorisation of implicit feedback by alternating least squares.

Hu, Koren & Volinsky 2008, in the form and with the regularisation of Rendle et al. 2021
(arXiv 2110.14037), who show that it holds its own when it is tuned. In training the systems are
not solved to the end (``least_squares.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.early_stopping import PatientConfig, on_newest_items
from agenticrs.agents.retrieval.common import (
    RETRIEVAL_LOOP,
    RETRIEVAL_REWARD,
    item_counts,
    tie_breaker,
    within_limit,
)
from agenticrs.agents.retrieval.dot import DotRetriever
from agenticrs.agents.retrieval.gram import binary_pairs
from agenticrs.agents.retrieval.least_squares import LeastSquares
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import Trained, TrainingLoop
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange


class IalsConfig(PatientConfig):
    """Size and weights of the objective."""

    embedding_size: int = Field(default=64, ge=1)
    """Length of the vectors."""
    unobserved_weight: float = Field(default=0.1, gt=0)
    """Weight of the square of every score: what was not seen should score low."""
    l2: float = Field(default=0.003, ge=0)
    """Regularisation; an entity with n events has l2 * (n + unobserved_weight * others)^power."""
    power: float = Field(default=1.0, ge=0, le=1)
    """How much more those with many events are regularised."""
    epochs: int = Field(default=10, ge=1)
    """Rounds over users and items."""


class Ials(DotRetriever[IalsConfig]):
    """score(u, i) = p_u . q_i, with p_u solved out of the history whenever it is asked for.

    The weights are the items' vectors alone: a user that nobody has seen, or whose history has
    grown since, is served as well as any other.
    """

    config_type = IalsConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="ials",
        kind="model",
        role="retrieval",
        summary="Matrix factorisation in which every vector is the solution of a small system.",
        paper="Hu et al. 2008; Rendle et al. 2021, Revisiting the performance of iALS",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            parameters=(
                IntRange(name="embedding_size", low=16, high=256, log=True),
                FloatRange(name="unobserved_weight", low=0.005, high=1.0, log=True),
                FloatRange(name="l2", low=1e-4, high=0.1, log=True),
                FloatRange(name="power", low=0.5, high=1.0),
                IntRange(name="epochs", low=4, high=30, log=True),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Alternate between users and items, each time some steps nearer to the solutions."""
        super().fit(data, budget)
        size = self.config.embedding_size
        generator = torch.Generator(self.device).manual_seed(self.seed)
        shape = (self.n_items, size)
        self.items = torch.randn(*shape, generator=generator, device=self.device) * 0.1 / size**0.5
        users = self.items.new_zeros(self.n_users, size)
        weights = {"users": users, "items": self.items}
        histories, stopping = on_newest_items(
            self, data.histories, weights, self.config.patience, generator
        )
        by_user = binary_pairs(histories, self.n_items)
        by_item = transposed(by_user, self.n_items)
        self.prior = tie_breaker(item_counts(data.histories, self.n_items))
        trained = Trained(weights, None, generator)
        for _ in TrainingLoop(budget, self.config.epochs, trained, stopping):
            users.copy_(self._squares(self.items).nearer(by_user, users))
            self.items.copy_(self._squares(users).nearer(by_item, self.items))
            self._index()  # whoever is told of the epoch may look at how good it is
        self._index()

    def _squares(self, other: Tensor) -> LeastSquares:
        config = self.config
        return LeastSquares(other, config.unobserved_weight, config.l2, config.power)

    def queries(self, users: UserBatch) -> Tensor:
        """Solve for the users; a one for the tie-breaker."""
        solved = self._solver.solved(users)
        return torch.cat([solved, solved.new_ones(len(solved), 1)], 1)

    def _index(self) -> None:
        self.table = torch.cat([self.items, self.prior[:, None]], 1)
        self._solver = self._squares(self.items)

    def state(self) -> dict[str, Tensor]:
        """The items' vectors, and popularity as a tie-breaker."""
        return {"items": self.items.cpu(), "prior": self.prior.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the vectors."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.items = state["items"].to(self.device)
        self.prior = state["prior"].to(self.device)
        self._index()

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """A vector and a count for each item."""
        size = cast(IalsConfig, config).embedding_size
        return within_limit("ials", n_items * (size + 1))


def transposed(distinct: UserBatch, n_items: int) -> UserBatch:
    """The users of each item instead of the items of each user."""
    order = torch.argsort(distinct.items, stable=True)
    offsets = torch.zeros(n_items + 1, dtype=torch.int64, device=order.device)
    torch.cumsum(torch.bincount(distinct.items, minlength=n_items), 0, out=offsets[1:])
    return UserBatch(torch.arange(n_items, device=order.device), offsets, distinct.rows[order])
