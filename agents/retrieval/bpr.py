"""BPR-MF: matrix factorisation trained to rank pairs (Rendle et al. 2009, arXiv 1205.2618)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.early_stopping import PatientConfig, on_newest_items
from agenticrs.agents.retrieval.common import RETRIEVAL_LOOP, RETRIEVAL_REWARD, within_limit
from agenticrs.agents.retrieval.dot import DotRetriever
from agenticrs.agents.retrieval.entry_scores import entry_scores
from agenticrs.agents.retrieval.negatives import NegativeSampler
from agenticrs.agents.retrieval.pair_by_pair import compiled
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import Trained, TrainingLoop
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange

_BLOCK = 16
"""Steps for which negatives are drawn, and after which the vectors are shrunk, in one go."""
_TINY = 1e-8
"""What a row's sum of squares starts from."""
_MANY = 200_000
"""Positives from which on a processor goes pair by pair, compiled: below, all epochs of batches
take less than to load the compiler."""


class BprConfig(PatientConfig):
    """Size and training of the factors."""

    embedding_size: int = Field(default=64, ge=1)
    """Length of the user and item vectors."""
    learning_rate: float = Field(default=0.4, gt=0)
    """AdaGrad's step: a row's first pair moves it by so much of the vector it is pulled to, later
    pairs by less and less (Duchi et al. 2011)."""
    l2: float = Field(default=0.03, ge=0)
    """Weight of the squared norms of the three vectors in a pair, as in the paper."""
    negatives: int = Field(default=4, ge=1)
    """Unseen items drawn for each positive; the one that scores highest is trained on
    (dynamic negative sampling). 1 is the paper's uniform sampling."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the positives."""
    batch_size: int = Field(default=2048, ge=1)
    """Positives in one step, except that a processor goes a step for each if they are many."""


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
                FloatRange(name="learning_rate", low=5e-2, high=2.0, log=True),
                FloatRange(name="l2", low=1e-3, high=1e-1, log=True),
                IntRange(name="negatives", low=1, high=32, log=True),
                IntRange(name="epochs", low=10, high=100, log=True),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Train on shuffled positives, one step for each batch or, on a processor, each of many."""
        super().fit(data, budget)
        config = self.config
        generator = torch.Generator(self.device).manual_seed(self.seed)
        one_by_one = self.device.type == "cpu" and len(data.histories.items) >= _MANY
        kind = _PairByPair if one_by_one else _Factors
        factors = kind(self.n_users, self.n_items, config, generator)
        weights = factors.weights()
        histories, stopping = on_newest_items(
            self, data.histories, weights, config.patience, generator
        )
        sampler = NegativeSampler(histories, self.n_items, generator)
        rows, items = histories.rows, histories.items
        loop = TrainingLoop(budget, config.epochs, Trained(weights, None, generator), stopping)
        for _ in loop:
            # int32 is shuffled three times as fast as int64.
            order = torch.randperm(
                len(items), generator=generator, device=self.device, dtype=torch.int32
            )
            for block in torch.split(order, _BLOCK * config.batch_size):
                users = rows.index_select(0, block)
                drawn = sampler.draw(users, config.negatives)
                loop.note(factors.learn(users, items.index_select(0, block), drawn))
            self._serve(factors)  # whoever is told of the epoch may look at how good it is
        self._serve(factors)
        self.users, self.items = factors.users.clone(), factors.items.clone()

    def _serve(self, factors: _Factors) -> None:
        """Answer by the vectors as they are now."""
        self.users, self.items, self.bias = factors.users, factors.items, factors.bias
        self._index()

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


class _Factors:
    """The vectors in training, with an AdaGrad step for each row (Duchi et al. 2011).

    Gradients are written out rather than left to autograd, and only the rows in a batch are
    touched. With gain x = p_u . (q_i - q_j) + b_i - b_j and error g = sigmoid(-x), a pair moves
    p_u by r_u g (q_i - q_j), q_i by r_i g p_u and q_j by -r_j g p_u, where a row's rate r is
    ``learning_rate`` / sqrt(sum of its g^2 so far): one number a row, however long the vectors.
    ``l2`` shrinks a row by ``l2`` r for each of its pairs; that is made up for once a block.
    """

    def __init__(
        self, n_users: int, n_items: int, config: BprConfig, generator: torch.Generator
    ) -> None:
        n, device = n_users + n_items, generator.device
        self._config = config
        size = (n, config.embedding_size)
        self._vectors = 0.1 * torch.randn(size, generator=generator, device=device)
        self.users, self.items = self._vectors[:n_users], self._vectors[n_users:]
        self.bias = torch.zeros(n_items, device=device)
        self._squares = torch.full((n,), _TINY, device=device)
        self._rates = torch.zeros(n, device=device)
        self._signs = torch.tensor([1.0, -1.0], device=device)

    def weights(self) -> dict[str, Tensor]:
        """All that a checkpoint keeps."""
        return {"vectors": self._vectors, "bias": self.bias, "squares": self._squares}

    def learn(self, users: Tensor, positive: Tensor, drawn: Tensor) -> Tensor:
        """Go a step for each batch of the pairs (users and positives (n,), drawn (n, negatives)).

        Returns the mean loss.
        """
        parts = (torch.split(x, self._config.batch_size) for x in (users, positive, drawn))
        gains = torch.cat([self._step(*batch) for batch in zip(*parts, strict=True)])
        self._shrink()
        return functional.softplus(-gains).mean()

    def _shrink(self) -> None:
        self._vectors *= torch.exp(-self._config.l2 * self._rates)[:, None]
        self._rates.zero_()

    def _step(self, users: Tensor, positive: Tensor, drawn: Tensor) -> Tensor:
        """One step for B pairs; their gains before it, (B,)."""
        user = functional.embedding(users, self.users)
        both = torch.stack([positive, self._hardest(user, drawn)])
        # q_i - q_j in one pass, without copies of the two.
        signs = self._signs.expand(len(users), 2)
        apart = functional.embedding_bag(
            both.T.contiguous(), self.items, per_sample_weights=signs, mode="sum"
        )
        bias = self.bias.index_select(0, both.flatten()).view(both.shape)
        product = user * apart
        gain = product.sum(1).add_(bias[0]).sub_(bias[1])
        error = torch.sigmoid(-gain)
        rows = torch.cat([users, (both + len(self.users)).flatten()])
        self._squares.index_add_(0, rows, error.square().expand(3, -1).flatten())
        rates = self._squares.index_select(0, rows).rsqrt_().mul_(self._config.learning_rate)
        self._rates.index_add_(0, rows, rates)
        moves = rates.view(3, -1, 1) * error[:, None]
        moves[2].neg_()
        self.bias.index_add_(0, both.flatten(), moves[1:].flatten())
        # In place and one after the other: what was just written is still in the cache.
        self.users.index_add_(0, users, apart.mul_(moves[0]))
        self.items.index_add_(0, both[0], torch.mul(user, moves[1], out=product))
        self.items.index_add_(0, both[1], user.mul_(moves[2]))
        return gain

    def _hardest(self, user: Tensor, drawn: Tensor) -> Tensor:
        """The best scored of the items drawn for each user, (B,)."""
        if drawn.shape[1] == 1:
            return drawn[:, 0]
        n = drawn.shape[1]
        begin = torch.arange(0, drawn.numel() + 1, n, device=drawn.device)
        scores = entry_scores(begin, drawn.flatten(), user, self.items)
        scores += self.bias.index_select(0, drawn.flatten())
        return drawn.gather(1, scores.view(drawn.shape).argmax(1, keepdim=True))[:, 0]


class _PairByPair(_Factors):
    """The same on a processor, with a step for each pair: a third of the time, on one thread."""

    def learn(self, users: Tensor, positive: Tensor, drawn: Tensor) -> Tensor:
        """Go a step for each pair. Returns the mean loss."""
        gains = torch.empty(len(users))
        n, rows = len(self.users), (self._vectors, self._squares, self._rates)
        compiled()(
            *(x.numpy() for x in (users, positive, drawn)),
            *((x[:n].numpy(), x[n:].numpy()) for x in rows),
            self.bias.numpy(),
            np.float32(self._config.learning_rate),
            gains.numpy(),
        )
        self._shrink()
        return functional.softplus(-gains).mean()
