"""Routing that learns which users fare better on a path of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.agent import AgentConfig, Budget, OutcomeLearner
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.retrieval.common import log_popularity
from agenticrs.agents.routing.common import ROUTING_LOOP, ROUTING_REWARD
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange
from agenticrs.rewards.outer import captured_value
from agenticrs.rewards.ranking import ranking_metrics

_SLATE = 10
_STEPS = 300


class LearnedRouterConfig(AgentConfig):
    """How readily a user is sent off the usual path."""

    l2: float = Field(default=0.02, gt=0)
    """Weight of the squared coefficients: the larger, the fewer users are told apart."""
    margin: float = Field(default=0.05, ge=0)
    """Gain, as a share of the usual path's mean reward, that the special path must bring."""


class LearnedRouter(OutcomeLearner[LearnedRouterConfig]):
    """special when w . x(u) + b > 0, else usual.

    x(u): length of the history (log), how popular its items are on average, how much that varies,
    and how much the newest five differ from that average. w and b maximise the expected reward of
    the stochastic choice sigmoid(w . x + b) between the two paths, half NDCG and half captured
    value: the policy gradient of a one-step decision, in closed form because both outcomes are
    known (off-policy learning with full feedback; Williams 1992 for the general case).
    """

    config_type = LearnedRouterConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="learned_router",
        kind="model",
        role="routing",
        summary="Learns which users are better served by a path of their own.",
        paper="Williams 1992, Simple statistical gradient-following algorithms (REINFORCE)",
        loop=ROUTING_LOOP,
        inner_reward=ROUTING_REWARD,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="l2", low=1e-4, high=1.0, log=True),
                FloatRange(name="margin", low=0.0, high=0.3),
            )
        ),
        outer_weight=0.5,
        on_request=True,
        segments=("special", "usual"),
    )
    popularity: Tensor
    """(n_items,): log-scaled counts, 1 for the most popular item."""
    weights: Tensor
    """(5,): coefficients of the four features, and b. Zeros: everybody takes the usual path."""

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Note how popular the items are; nobody is special yet."""
        super().fit(data, budget)
        self.popularity = log_popularity(data.histories, data.n_items)
        self.weights = torch.zeros(5, device=self.device)

    def learn(self, lesson: Lesson) -> None:
        """Compare both paths for every user; AgentError unless there are two lists."""
        if len(lesson.inputs) != len(self.spec.segments):
            raise AgentError(
                f"learned_router learns from two lists, got {len(lesson.inputs)}",
                hint="one for each segment: special, usual",
            )
        special, usual = (self._reward(lesson, source) for source in lesson.inputs)
        gain = special - usual - self.config.margin
        features = self._features(lesson.users)
        mean, deviation = features[:, :-1].mean(0), features[:, :-1].std(0) + 1e-6
        standard = torch.cat([(features[:, :-1] - mean) / deviation, features[:, -1:]], 1)
        weights = torch.zeros(5, device=self.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            expected = (torch.sigmoid(standard @ weights) * gain).mean()
            value: Tensor = self.config.l2 * weights[:-1].square().sum() - expected
            torch.autograd.backward(value)
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        found = weights.detach()
        slope = found[:-1] / deviation
        self.weights = torch.cat([slope, found[-1:] - slope @ mean])

    def _reward(self, lesson: Lesson, source: Candidates) -> Tensor:
        """Half NDCG@10, half captured value, each over its mean on the usual path, (B,)."""
        usual = lesson.inputs[-1]
        parts = []
        for metric in (self._ndcg, self._value):
            scale = metric(lesson, usual).mean().clamp(min=1e-6)
            parts.append(metric(lesson, source) / scale)
        return (0.5 * (parts[0] + parts[1])).to(torch.float32)

    def _ndcg(self, lesson: Lesson, source: Candidates) -> Tensor:
        ranked = lists.widen(source, _SLATE).items
        found = ranking_metrics(ranked, lesson.truth.offsets, lesson.truth.items, [_SLATE])
        return found[f"ndcg@{_SLATE}"]

    def _value(self, lesson: Lesson, source: Candidates) -> Tensor:
        ranked, truth = lists.widen(source, _SLATE).items, lesson.truth
        return captured_value(ranked, truth.offsets, truth.items, truth.value, _SLATE)

    def _features(self, users: UserBatch) -> Tensor:
        """(B, 5): the four features, roughly in [-1, 1], and a one."""
        users = users.within(self.n_users, self.n_items)
        known = self.popularity[users.items]
        lengths = users.lengths.to(torch.float32)
        count = lengths.clamp(min=1)
        sums = torch.zeros(len(users), device=self.device)
        mean = sums.index_add(0, users.rows, known) / count
        spread = sums.index_add(0, users.rows, (known - mean[users.rows]).square()) / count
        newest, shown = users.newest(5)
        recent = self.popularity[newest.clamp(min=0)].masked_fill(newest < 0, 0.0)
        drift = recent.sum(1) / shown.clamp(min=1) - mean
        ones = torch.ones_like(mean)
        return torch.stack([lengths.log1p() / 7, mean, spread.sqrt(), drift, ones], 1)

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        """0 (special) or 1 (usual) for each user."""
        special = self._features(users) @ self.weights > 0
        return Route(torch.where(special, 0, 1))

    def state(self) -> dict[str, Tensor]:
        """Popularity and the coefficients."""
        return {"popularity": self.popularity.cpu(), "weights": self.weights.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over popularity and coefficients."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.popularity = state["popularity"].to(self.device)
        self.weights = state["weights"].to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """A number for each item, and the coefficients."""
        return n_items + 5
