"""The traffic and segment agent: finds kinds of users, and learns which path each kind takes."""

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
from agenticrs.agents.routing.common import ROUTING_LOOP, ROUTING_REWARD
from agenticrs.agents.segmenting.user_statistics import NAMES, WIDTH, Ground
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange
from agenticrs.rewards.outer import captured_value

_SLATE = 10
_ROUNDS = 25
_FEW = 8
"""Teaching users of a segment without whom nothing is said about it."""


class SegmenterConfig(AgentConfig):
    """How finely users are told apart, and how sure a better path must be."""

    kinds: int = Field(default=6, ge=1, le=64)
    """Segments of users."""
    recency: float = Field(default=1.0, ge=0)
    """How much it counts, beside activity, when users are compared; the others likewise."""
    breadth: float = Field(default=1.0, ge=0)
    mainstream: float = Field(default=1.0, ge=0)
    caution: float = Field(default=2.0, ge=0)
    """Standard errors by which another path must be better than the usual one."""
    margin: float = Field(default=0.02, ge=0)
    """Gain, as a share of the usual path's mean reward, that it must bring at least."""


class Segmenter(OutcomeLearner[SegmenterConfig]):
    """Each kind of users takes the path that has brought most; the usual one where in doubt.

    Kinds are the clusters of all users of the log by activity, recency, breadth of taste and how
    mainstream it is (k-means, Lloyd 1982). The policy is learnt on the outer reward, the business
    value that each path's list captures: for each kind the path with the largest gain over the
    usual one, if the gain less ``caution`` standard errors is above the margin. So a new policy is
    worse than the usual path with small probability only (Thomas, Theocharous & Ghavamzadeh 2015,
    High confidence policy improvement; here the outcome of every path is known for every teaching
    user, and no propensities are needed).
    """

    config_type = SegmenterConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="segmenter",
        kind="model",
        role="segmenting",
        summary="Finds kinds of users, and sends each down the path that brings most value.",
        paper="Thomas, Theocharous & Ghavamzadeh 2015, High confidence policy improvement",
        loop=ROUTING_LOOP,
        inner_reward=ROUTING_REWARD,
        space=DecisionSpace(
            parameters=(
                IntRange(name="kinds", low=2, high=24, log=True),
                FloatRange(name="recency", low=0.0, high=2.0),
                FloatRange(name="breadth", low=0.0, high=2.0),
                FloatRange(name="mainstream", low=0.0, high=2.0),
                FloatRange(name="caution", low=0.0, high=3.0),
                FloatRange(name="margin", low=0.0, high=0.2),
            )
        ),
        outer_weight=0.7,
        on_request=True,
        segments=("best", "second", "popular", "usual"),
    )
    ground: Ground
    centre: Tensor
    """(4,) means of the statistics over the log's users, and their spread, (4,)."""
    spread: Tensor
    kinds: Tensor
    """(kinds, 4): middles of the segments, in units of the spread, weighted."""
    policy: Tensor
    """(kinds,) int64: the path of each, a place in ``spec.segments``."""

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Find the kinds; everybody takes the usual path as yet."""
        super().fit(data, budget)
        self.ground = Ground.of(data, self.seed)
        known = data.histories.take((data.histories.lengths > 0).nonzero()[:, 0])
        found = self.ground.of_users(known)
        if not len(found):
            found = torch.zeros(1, len(NAMES), device=self.device)
        self.centre, self.spread = found.mean(0), found.std(0, correction=0).clamp(min=1e-6)
        self.kinds = self._clusters(self._scaled(found))
        self.policy = torch.full(
            (len(self.kinds),), len(self.spec.segments) - 1, device=self.device
        )

    def learn(self, lesson: Lesson) -> None:
        """The safest best path of each kind; AgentError unless there is a list for each path."""
        paths = len(self.spec.segments)
        if len(lesson.inputs) != paths:
            raise AgentError(
                f"segmenter learns from {paths} lists, got {len(lesson.inputs)}",
                hint="one for each path: " + ", ".join(self.spec.segments),
            )
        truth = lesson.truth
        value = torch.stack(
            [
                captured_value(
                    lists.widen(source, _SLATE).items,
                    truth.offsets,
                    truth.items,
                    truth.value,
                    _SLATE,
                )
                for source in lesson.inputs
            ],
            1,
        ).to(torch.float64)
        gain = value - value[:, -1:]
        member = torch.nn.functional.one_hot(self.kind_of(lesson.users), len(self.kinds))
        member = member.to(torch.float64)
        count = member.sum(0)[:, None]
        mean = member.T @ gain / count.clamp(min=1)
        variance = (member.T @ gain.square() / count.clamp(min=1) - mean.square()).clamp(min=0)
        error = (variance / (count - 1).clamp(min=1)).sqrt()
        least = self.config.margin * float(value[:, -1].mean())
        safe = mean - self.config.caution * error - least
        safe = safe.masked_fill((count < _FEW) | (mean <= 0), -torch.inf)
        safe[:, -1] = 0.0
        # The usual path stands last: of equals the later one is taken.
        self.policy = paths - 1 - safe.flip(1).argmax(1)

    def kind_of(self, users: UserBatch) -> Tensor:
        """The segment of each user, (B,) int64."""
        users = users.within(self.n_users, self.n_items)
        scaled = self._scaled(self.ground.of_users(users))
        return _nearest(scaled, self.kinds)

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        """The path of each user's segment."""
        return Route(self.policy[self.kind_of(users)])

    def _scaled(self, statistics: Tensor) -> Tensor:
        c = self.config
        weight = torch.tensor([1.0, c.recency, c.breadth, c.mainstream], device=self.device)
        return (statistics - self.centre) / self.spread * weight

    def _clusters(self, points: Tensor) -> Tensor:
        """Lloyd's algorithm from evenly spread beginnings along the widest direction."""
        wanted = min(self.config.kinds, len(points))
        _, _, axes = torch.linalg.svd(points - points.mean(0), full_matrices=False)
        order = (points @ axes[0]).argsort(stable=True)
        at = (torch.arange(wanted, device=self.device) + 0.5) / wanted * len(points)
        middles = points[order[at.long()]].clone()
        for _ in range(_ROUNDS):
            nearest = _nearest(points, middles)
            sums = torch.zeros_like(middles).index_add_(0, nearest, points)
            count = torch.bincount(nearest, minlength=wanted)[:, None]
            moved = torch.where(count > 0, sums / count.clamp(min=1), middles)
            if torch.equal(moved, middles):
                break
            middles = moved
        return middles

    def state(self) -> dict[str, Tensor]:
        """What statistics are taken from, the segments and the policy."""
        held = {
            "tastes": self.ground.tastes,
            "popularity": self.ground.popularity,
            "newest": self.ground.newest,
            "centre": self.centre,
            "spread": self.spread,
            "kinds": self.kinds,
            "policy": self.policy,
        }
        return {name: tensor.cpu() for name, tensor in held.items()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take them over."""
        super().load(state, n_users=n_users, n_items=n_items)
        held = {name: tensor.to(self.device) for name, tensor in state.items()}
        self.ground = Ground(held["tastes"], held["popularity"], held["newest"])
        self.centre, self.spread = held["centre"], held["spread"]
        self.kinds, self.policy = held["kinds"], held["policy"]

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """A taste and a popularity for each item, and the segments."""
        kinds = getattr(config, "kinds", 1)
        return (WIDTH + 1) * n_items + (len(NAMES) + 1) * kinds + 2 * len(NAMES) + 1


def _nearest(points: Tensor, middles: Tensor) -> Tensor:
    """The middle next to each point, (n,): no sum over a batch, so nobody's place moves another."""
    return (points[:, None, :] - middles[None]).square().sum(2).argmin(1)
