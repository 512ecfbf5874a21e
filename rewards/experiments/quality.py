"""How good the decisions of a canary's rules are: what they bring of what could be had.

Canaries are generated with what is true of each version known: half of the versions do harm (less
reward, or more reward and more users who leave, or more reward and slower answers), a third are
better, the others change nothing. Whoever knew that would show every better one to all from the
first step on and no other to anybody. A canary has to find out. What counts, in lift times steps:

* users who are shown something bad lose it what it costs, as long as they are shown it;
* something good gives nothing to those who do not see it yet;
* every step has a price, because the next idea waits, and so has asking a person.

False decisions are bounded by ``alpha`` and harm by margins. People set those: of the margins a
course may use less, not more. The rules are those of ``agents/experimentation/canary.py``, for all
canaries at once: a step of the ladder is one operation on tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agenticrs.rewards.experiments.sequential import mixing

METRICS = ("reward", "leaving", "latency")
_GOOD = (1.0, -1.0, -1.0)
_ENOUGH = 10
Kind = Literal["worse", "leaving", "slower", "better", "same"]
_KINDS: tuple[Kind, ...] = ("worse", "better", "leaving", "better", "slower", "same")
"""Version after version, round and round."""


@dataclass(frozen=True)
class Course:
    """How a change is brought to the users: what a canary's rules leave open."""

    stages: tuple[float, ...] = (0.01, 0.05, 0.10, 0.25, 0.50, 1.0)
    users: int = 200
    steps: int = 1
    patience: int = 30
    planned: float = 2000.0
    """Effective users at which intervals are narrowest: few, and alpha is spent early."""
    adjust: bool = True
    """Take out what the past explains (``cuped.py``)."""
    margins: tuple[float, ...] = (0.01, 0.05, 0.05)
    """Of reward, leaving and latency."""
    tolerated: tuple[float, ...] = (0.0, 0.05, 0.05)
    """Losses of each that are broken at once."""
    worst: tuple[float | None, ...] = (None, 0.15, 0.15)
    """The most that even few users may lose of each."""
    alpha: float = 0.05

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.stages, self.stages[1:], strict=False))
        sound = len(self.stages) > 1 and rising and self.stages[0] > 0 and self.stages[-1] == 1
        if not sound or min(self.users, self.steps, self.patience) < 1 or min(self.margins) <= 0:
            raise ValueError(f"stages, counts or margins are out of range: {self}")


@dataclass(frozen=True)
class Traffic:
    """What canaries meet: users a step, how much they differ, and what is at stake."""

    users: int = 10_000
    deviation: tuple[float, float, float] = (1.5, 1.5, 0.4)
    """Standard deviation over the mean, of reward, leaving and latency."""
    explained: tuple[float, float, float] = (0.4, 0.1, 0.0)
    """Share of the variance that the past explains."""
    cost: tuple[float, float] = (0.5, 0.5)
    """Lift that a rise of leaving, and of latency, by its whole is worth to avoid."""
    lifetime: int = 200
    """Steps for which a change matters, those of the canary included."""
    price: float = 0.002
    """Lift times steps that each step of waiting costs."""
    asking: float = 0.2
    """The same for asking a person, who then lets everybody go back."""


@dataclass(frozen=True)
class Changes:
    """Generated versions: their true ``lifts`` (R, 3) of the metrics, and which kind each is."""

    lifts: Tensor
    kinds: Tensor
    """(R,) places among the kinds: worse, better, leaving, better, slower, same."""

    def value(self, world: Traffic) -> Tensor:
        """What each is worth to those who are shown it, (R,), in lift."""
        costs = torch.tensor([1.0, *(-one for one in world.cost)], dtype=torch.float64)
        return self.lifts @ costs


@dataclass(frozen=True)
class Quality:
    """How canaries ended: ``status`` (R,) 0 running still, 1 promoted, 2 rolled back, 3 asked.

    ``gain`` and ``best`` (R,): what each brought and could have, in lift times steps. ``stage`` and
    ``steps`` (R,) are where and when it ended, ``exposed`` (R,) the sum of shares over its steps.
    """

    gain: Tensor
    best: Tensor
    status: Tensor
    stage: Tensor
    steps: Tensor
    exposed: Tensor
    harmful: Tensor
    """(R,) bool: worth less than nothing."""
    early: Tensor
    """(R,) bool: rolled back before a tenth of the users were shown it."""

    @property
    def shares(self) -> Tensor:
        """What each brought over what one could have brought on average, (R,); 1 at best."""
        return self.gain / self.best.mean().clamp(min=1e-12)

    @property
    def captured(self) -> float:
        """Their mean: 1 for who knows everything, 0 for who changes nothing."""
        return float(self.shares.mean())

    def totals(self) -> dict[str, float]:
        """What it comes from: shares of harmful and of better versions, steps, users exposed."""
        better = self.best > 0
        return {
            "harm_caught_early": _part(self.early, self.harmful),
            "harm_promoted": _part(self.status == 1, self.harmful),
            "better_promoted": _part(self.status == 1, better),
            "harm_exposed": _part(self.exposed, self.harmful),
            "asked": float((self.status == 3).double().mean()),
            "steps": float(self.steps.double().mean()),
        }


def changes(runs: int, seed: int) -> Changes:
    """The first ``runs`` versions of a world; more runs begin with the same ones."""
    kinds = torch.arange(runs) % len(_KINDS)
    size = torch.rand(runs, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    lifts = torch.zeros(runs, 3, dtype=torch.float64)
    for place, kind in enumerate(_KINDS):
        rows = kinds == place
        if kind == "worse":
            lifts[rows, 0] = -0.03 - 0.12 * size[rows, 0]
        elif kind != "same":
            lifts[rows, 0] = 0.02 + 0.05 * size[rows, 0]
        if kind in ("leaving", "slower"):
            lifts[rows, 1 if kind == "leaving" else 2] = 0.2 + 0.4 * size[rows, 1]
    return Changes(lifts, kinds)


def decision_quality(
    course: Course, traffic: Traffic | None = None, *, runs: int = 600, seed: int
) -> Quality:
    """Run ``runs`` canaries to their ends; the same seed gives all courses the same luck."""
    world, versions = traffic or Traffic(), changes(runs, seed)
    ladder, walk = _Rules.of(course, world), _Walk.begin(runs, versions.lifts)
    luck = torch.Generator().manual_seed(seed + 1)
    for _ in range(world.lifetime):
        noise = torch.randn(runs, 2, len(METRICS), generator=luck, dtype=torch.float64)
        walk = ladder.step(walk, noise)
        if not bool((walk.status == 0).any()):
            break
    value = versions.value(world)
    left = (world.lifetime - walk.steps) * (walk.status == 1)
    asked = world.asking * (walk.status == 3)
    share_at_end = ladder.shares[walk.stage]
    return Quality(
        gain=value * (walk.exposed + left) - world.price * walk.steps - asked,
        best=value.clamp(min=0) * world.lifetime,
        status=walk.status,
        stage=walk.stage,
        steps=walk.steps,
        exposed=walk.exposed,
        harmful=value < 0,
        early=(walk.status == 2) & (share_at_end < 0.10),
    )


@dataclass(frozen=True)
class _Walk:
    """Where all canaries stand; sums over steps as in ``sequential.Gathered``."""

    lifts: Tensor
    status: Tensor
    stage: Tensor
    since: Tensor
    users: Tensor
    steps: Tensor
    exposed: Tensor
    freedom: Tensor
    size: Tensor
    score: Tensor
    level: Tensor

    @staticmethod
    def begin(runs: int, lifts: Tensor) -> _Walk:
        zero, exact = torch.zeros(runs, dtype=torch.int64), torch.zeros(runs, dtype=torch.float64)
        sums = torch.zeros_like(lifts)
        return _Walk(lifts, zero, zero, zero, zero, zero, exact, zero, exact, sums, sums)


@dataclass(frozen=True)
class _Rules:
    """A course's rules as tensors."""

    course: Course
    users: int
    shares: Tensor
    deviation: Tensor
    margins: Tensor
    tolerated: Tensor
    worst: Tensor
    mixing: float
    penalty: float

    @staticmethod
    def of(course: Course, world: Traffic) -> _Rules:
        deviation = _exact(world.deviation)
        if course.adjust:
            deviation = deviation * (1 - _exact(world.explained)).sqrt()
        alpha = course.alpha / len(METRICS)
        return _Rules(
            course=course,
            users=world.users,
            shares=_exact(course.stages),
            deviation=deviation,
            margins=_exact(course.margins),
            tolerated=_exact(course.tolerated),
            worst=_exact(tuple(math.inf if one is None else one for one in course.worst)),
            mixing=mixing(course.planned, alpha),
            penalty=-2 * math.log(alpha),
        )

    def step(self, walk: _Walk, noise: Tensor) -> _Walk:
        """Another step of those that run; ``noise`` is (R, arms, metrics), standard normal."""
        runs = walk.status == 0
        share = self.shares[walk.stage]
        treated = (share * self.users).round().clamp(min=1)
        controls = (self.users - treated).clamp(min=1)
        h = treated * controls / (treated + controls)
        usual = 1 + noise[:, 1] * self.deviation / controls[:, None].sqrt()
        shown = 1 + walk.lifts + noise[:, 0] * self.deviation / treated[:, None].sqrt()
        size = walk.size + h
        score = walk.score + h[:, None] * (shown - usual)
        level = walk.level + h[:, None] * usual
        freedom = walk.freedom + (treated - 1).long()
        users, since = walk.users + treated.long(), walk.since + 1
        low, high = self._interval(size, score, level, freedom)
        following = self.shares[(walk.stage + 1).clamp(max=len(self.shares) - 1)]
        allowed = torch.minimum(self.margins / following[:, None], self.worst)
        broken = (high < -self.tolerated).any(1)
        kept = (low > -allowed).all(1)
        enough = (users >= self.course.users) & (since >= self.course.steps)
        advances = runs & ~broken & kept & enough
        asks = runs & ~broken & ~advances & (since >= self.course.patience)
        stage = walk.stage + advances
        status = torch.where(advances & (following == 1), 1, walk.status)
        status = torch.where(runs & broken, 2, torch.where(asks, 3, status))

        def now(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(runs if new.ndim == 1 else runs[:, None], new, old)

        return _Walk(
            lifts=walk.lifts,
            status=status,
            stage=stage,
            since=torch.where(advances, 0, now(since, walk.since)),
            users=torch.where(advances, 0, now(users, walk.users)),
            steps=walk.steps + runs,
            exposed=walk.exposed + runs * share,
            freedom=now(freedom, walk.freedom),
            size=now(size, walk.size),
            score=now(score, walk.score),
            level=now(level, walk.level),
        )

    def _interval(
        self, size: Tensor, score: Tensor, level: Tensor, freedom: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Ends of each metric's gain, (R, 3): ``sequential.lift`` with variances that are known."""
        spread = (size + self.mixing) * (((size + self.mixing) / self.mixing).log() + self.penalty)
        reach = self.deviation * spread.sqrt()[:, None] / size[:, None]
        reach = torch.where((freedom < _ENOUGH - 1)[:, None], math.inf, reach)
        mean = score / size[:, None] * _exact(_GOOD)
        unit = level / size[:, None]
        return (mean - reach) / unit, (mean + reach) / unit


def _exact(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _part(values: Tensor, among: Tensor) -> float:
    return float(values[among].double().mean()) if bool(among.any()) else 0.0
