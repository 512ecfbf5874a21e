"""BPR-MF: matrix factorisation trained to rank pairs (Rendle et al. 2009, arXiv 1205.2618)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.common import RETRIEVAL_LOOP, RETRIEVAL_REWARD, within_limit
from agenticrs.agents.retrieval.dot import DotRetriever
from agenticrs.agents.retrieval.negatives import NegativeSampler
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import TrainingLoop
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange


class BprConfig(AgentConfig):
    """Size and training of the factors."""

    embedding_size: int = Field(default=64, ge=1)
    """Length of the user and item vectors."""
    learning_rate: float = Field(default=0.005, gt=0)
    """Step size of Adam."""
    l2: float = Field(default=0.05, ge=0)
    """Weight of the squared norms of the three vectors in a pair, as in the paper."""
    negatives: int = Field(default=4, ge=1)
    """Unseen items drawn for each positive; the one that scores highest is trained on
    (dynamic negative sampling). 1 is the paper's uniform sampling."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the positives."""
    batch_size: int = Field(default=2048, ge=1)
    """Positives in one step."""


class BprMF(DotRetriever[BprConfig]):
    """score(u, i) = p_u . q_i + b_i, trained so that what the user had outranks what not.

    A user without a vector is represented by the mean of the item vectors of the history,
    scaled to the length of a trained user's vector; without a history by zeros, which leaves
    the item biases: popularity.
    """

    config_type = BprConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="bpr",
        kind="model",
        role="retrieval",
        summary="Matrix factorisation that learns which of two items a user prefers.",
        paper="Rendle et al. 2009, BPR: Bayesian personalized ranking from implicit feedback",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        space=DecisionSpace(
            parameters=(
                IntRange(name="embedding_size", low=16, high=256, log=True),
                FloatRange(name="learning_rate", low=5e-4, high=5e-2, log=True),
                FloatRange(name="l2", low=1e-4, high=1e-1, log=True),
                IntRange(name="negatives", low=1, high=32, log=True),
                IntRange(name="epochs", low=10, high=100, log=True),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Train with Adam on shuffled positives."""
        super().fit(data, budget)
        config, device = self.config, self.device
        generator = torch.Generator(device).manual_seed(self.seed)
        size = (config.embedding_size,)
        self.users = 0.1 * torch.randn(self.n_users, *size, generator=generator, device=device)
        self.items = 0.1 * torch.randn(self.n_items, *size, generator=generator, device=device)
        self.bias = torch.zeros(self.n_items, device=device)
        weights = [self.users, self.items, self.bias]
        for weight in weights:
            weight.requires_grad_()
        optimizer = torch.optim.Adam(weights, lr=config.learning_rate)
        sampler = NegativeSampler(data.histories, self.n_items, generator)
        rows, items = data.histories.rows, data.histories.items
        loop = TrainingLoop(budget, config.epochs)
        for _ in loop:
            for batch in loop.batches(len(items), config.batch_size, generator):
                negative = self._negative(sampler, rows[batch])
                loop.step(self._loss(rows[batch], items[batch], negative), optimizer)
        for weight in weights:
            weight.requires_grad_(False)
        self._index()

    def _negative(self, sampler: NegativeSampler, users: Tensor) -> Tensor:
        """One unseen item for each user: the best scored of those drawn, (B,)."""
        drawn = sampler.draw(users, self.config.negatives)
        if self.config.negatives == 1:
            return drawn[:, 0]
        with torch.no_grad():
            scores = torch.einsum("bd,bnd->bn", self.users[users], self.items[drawn])
            best = (scores + self.bias[drawn]).argmax(1, keepdim=True)
        return drawn.gather(1, best)[:, 0]

    def _loss(self, users: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        user, better, worse = self.users[users], self.items[positive], self.items[negative]
        bias = self.bias[positive] - self.bias[negative]
        gain = (user * (better - worse)).sum(1) + bias
        norms = user.square().sum(1) + better.square().sum(1) + worse.square().sum(1)
        return (functional.softplus(-gain) + 0.5 * self.config.l2 * norms).mean()

    def queries(self, users: UserBatch) -> Tensor:
        """The users' vectors, or what their histories say, and a one for the biases."""
        known = users.users >= 0
        vectors = self.users[users.users.clamp(min=0)]
        if not bool(known.all()):
            vectors = torch.where(known[:, None], vectors, self._from_history(users))
        return torch.cat([vectors, vectors.new_ones(len(vectors), 1)], 1)

    def _from_history(self, users: UserBatch) -> Tensor:
        mean = functional.embedding_bag(
            users.items, self.items, users.offsets, mode="mean", include_last_offset=True
        )
        return functional.normalize(mean) * self.length

    def _index(self) -> None:
        self.table = torch.cat([self.items, self.bias[:, None]], 1).detach()
        self.length = self.users.norm(dim=1).mean() if self.n_users else torch.zeros(())

    def state(self) -> dict[str, Tensor]:
        """User vectors, item vectors and item biases."""
        return {
            "users": self.users.detach().cpu(),
            "items": self.items.detach().cpu(),
            "bias": self.bias.detach().cpu(),
        }

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the vectors."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.users = state["users"].to(self.device)
        self.items = state["items"].to(self.device)
        self.bias = state["bias"].to(self.device)
        self._index()

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """A vector for each user and item, and the biases."""
        size = cast(BprConfig, config).embedding_size
        return within_limit("bpr", (n_users + n_items) * size + n_items)
