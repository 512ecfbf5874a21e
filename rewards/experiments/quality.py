"""How good the decisions of an experiment's design are: what they bring of what could be had.

Experiments are simulated, with effects drawn as they come in practice: many small ones, half of
them losses. Whoever knew them would show every change that is better from the first step on. A
design has to find out: it shows the change to some users, good or bad, and to all of them once it
is shown to be better; undecided at its horizon, all goes back. Meanwhile the next idea waits, at a
price a step. False decisions are bounded by ``alpha``, which people set: it is no part of what may
be searched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.rewards.experiments.sequential import Gathered, Sample, difference


@dataclass(frozen=True)
class Design:
    """How an experiment is run."""

    allocation: float = 0.5
    """Share of the users who are shown the change, in (0, 1)."""
    horizon: int = 14
    """Steps after which it ends without a decision."""
    spent: float = 0.5
    """Part of the horizon at which intervals are narrowest: small, and alpha is spent early."""
    adjust: bool = True
    """Take out what the past explains (``cuped.py``)."""
    alpha: float = 0.05

    def __post_init__(self) -> None:
        inside = 0 < self.allocation < 1 and 0 < self.spent <= 1 and 0 < self.alpha < 1
        if not inside or self.horizon < 1:
            raise ValueError(f"allocation, spent, alpha or horizon is out of range: {self}")

    def planned(self, users: int) -> float:
        """Effective users at which intervals are narrowest, with so many users a step."""
        return self.spent * self.horizon * users * self.allocation * (1 - self.allocation)


@dataclass(frozen=True)
class Traffic:
    """What experiments meet: users a step, and the reward's spread and past."""

    users: int = 10_000
    deviation: float = 1.5
    """Standard deviation of the reward over its mean."""
    explained: float = 0.4
    """Share of the variance that the past explains."""
    effect: float = 0.03
    """Standard deviation of true lifts, whose mean is 0."""
    lifetime: int = 100
    """Steps for which a change matters, those of the experiment included."""
    price: float = 0.01
    """Lift times steps that each step of waiting costs, because the next idea waits."""


@dataclass(frozen=True)
class Quality:
    """What each experiment brought, ``gain``, and could have, ``best``, (R,) in lift times steps.

    ``captured`` is the one over the other, at most 1. ``power`` is the share of changes that are
    better by at least one ``effect`` and were taken, ``wrong`` of those that are worse and were.
    """

    gain: Tensor
    best: Tensor
    power: float
    wrong: float
    steps: float
    """Mean length."""

    @property
    def captured(self) -> float:
        """1 for who knows everything, 0 for who changes nothing."""
        return float(self.gain.sum() / self.best.sum())


def decision_quality(
    design: Design, traffic: Traffic | None = None, *, runs: int = 200, seed: int
) -> Quality:
    """Simulate ``runs`` experiments; the same seed gives all designs the same luck."""
    world = traffic or Traffic()
    generator = torch.Generator().manual_seed(seed)
    # Evenly spread over the distribution: which changes are met shall not be luck.
    even = (torch.arange(runs, dtype=torch.float64) + 0.5) / runs
    lifts = world.effect * torch.special.ndtri(even)
    luck = torch.randn(runs, world.lifetime, 2, generator=generator, dtype=torch.float64)
    best = lifts.clamp(min=0) * world.lifetime
    gain, length, taken = torch.zeros_like(best), torch.zeros_like(best), torch.zeros(runs).bool()
    for row, lift in enumerate(lifts.tolist()):
        steps, takes = _run(design, world, lift, luck[row])
        exposed = design.allocation * steps + (world.lifetime - steps if takes else 0)
        gain[row] = lift * exposed - world.price * steps
        length[row], taken[row] = steps, takes
    better, worse = lifts >= world.effect, lifts < 0
    return Quality(gain, best, _part(taken, better), _part(taken, worse), float(length.mean()))


def _run(design: Design, world: Traffic, lift: float, luck: Tensor) -> tuple[int, bool]:
    """How long it takes, and whether the change is taken."""
    treated = max(2, round(design.allocation * world.users))
    controls = max(2, world.users - treated)
    variance = world.deviation**2 * (1 - world.explained if design.adjust else 1.0)
    planned, seen = design.planned(world.users), Gathered()
    horizon = min(design.horizon, world.lifetime)
    for step, (one, other) in enumerate(luck[:horizon].tolist(), start=1):
        seen = seen.seen(
            Sample(treated, 1 + lift + one * (variance / treated) ** 0.5, variance),
            Sample(controls, 1 + other * (variance / controls) ** 0.5, variance),
        )
        found = difference(seen, alpha=design.alpha, planned=planned)
        if found.low > 0 or found.high < 0:
            return step, found.low > 0
    return horizon, False


def _part(taken: Tensor, among: Tensor) -> float:
    return float(taken[among].double().mean()) if bool(among.any()) else 0.0
