"""Weights of short-term objectives by which decisions serve a long-term one.

What a user is worth later is known late; what they do at once is known at once. A weighted mean of
short-term objectives stands in for the later one as well as it tells it (a surrogate index: Athey,
Chetty, Imbens & Kang 2019, The surrogate index). Weights come from users of whom both are known:
least squares of the later on the short-term ones, none below 0, drawn towards the weights that
people have set by a given number of users' worth of belief (ridge).

How good that is can be measured without any platform (``objective_quality``): generated users and
compositions with known long-term effects, of which the one is taken that the weights prefer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDS = 8
_NEVER = 1e9
_AT_ONCE = 1000


@dataclass(frozen=True)
class Scheme:
    """How weights are learnt."""

    belief: float = 100.0
    """Users' worth of belief in the present weights."""
    least: float = 0.02
    """Weights below this share of the sum become 0."""

    def __post_init__(self) -> None:
        if not self.belief > 0 or not 0 <= self.least < 0.2:
            raise ValueError(f"need belief > 0 and least in [0, 0.2), got {self}")


@dataclass(frozen=True)
class Studies:
    """What generated studies are like."""

    users: int = 200
    objectives: int = 5
    compositions: int = 6
    noise: float = 3.0
    """Spread of a user's later worth that no short-term objective tells, in units of theirs."""
    effect: float = 0.05
    """Spread of what compositions do to a short-term objective, in the same units."""


def fit_weights(short: Tensor, later: Tensor, present: Tensor, scheme: Scheme) -> Tensor:
    """Weights that sum to 1, (..., O) float64.

    ``short`` (..., N, O) are lifts of short-term objectives, more being better, ``later`` (..., N)
    those of the long-term one, ``present`` (..., O) the weights that people have set.
    """
    x, y = short.to(torch.float64), later.to(torch.float64)
    x, y = x - x.mean(-2, keepdim=True), y - y.mean(-1, keepdim=True)
    held = present.to(torch.float64)
    held = held / held.sum(-1, keepdim=True)
    told = (x @ held[..., None])[..., 0]
    scale = (told * y).sum(-1) / told.square().sum(-1).clamp(min=1e-12)
    gram, right = x.mT @ x, (x.mT @ y[..., None])[..., 0]
    count = x.shape[-2]
    ridge = scheme.belief / count * gram.diagonal(dim1=-2, dim2=-1).mean(-1)
    prior = held * scale.clamp(min=0)[..., None]
    out = torch.zeros_like(held, dtype=torch.bool)
    found = held
    for _ in range(_ROUNDS):
        # What would be negative is held at 0, and the others are fitted again.
        penalty = ridge[..., None] + out * _NEVER * (1 + ridge[..., None])
        matrix = gram + torch.diag_embed(penalty.clamp(min=1e-9))
        found = torch.linalg.solve(matrix, right + ridge[..., None] * prior * ~out)
        negative = (found < 0) & ~out
        if not bool(negative.any()):
            break
        out = out | negative
    found = found.clamp(min=0) * ~out
    total = found.sum(-1, keepdim=True)
    shares = torch.where(total > 1e-9, found / total.clamp(min=1e-9), held)
    shares = shares.masked_fill(shares < scheme.least, 0.0)
    return shares / shares.sum(-1, keepdim=True)


@dataclass(frozen=True)
class ObjectiveQuality:
    """Long-term worth (R,) of what the learnt weights chose, the present ones, and at best."""

    chosen: Tensor
    present: Tensor
    best: Tensor

    @property
    def shares(self) -> Tensor:
        """What each choice brought over what one could have brought on average, (R,)."""
        return self.chosen / self.best.mean().clamp(min=1e-12)

    def totals(self) -> dict[str, float]:
        """The same for the present weights, and how often the learnt ones chose worse."""
        return {
            "present_quality": float(self.present.mean() / self.best.mean().clamp(min=1e-12)),
            "chose_worse": float((self.chosen < self.present).double().mean()),
        }


def objective_quality(
    scheme: Scheme, studies: Studies | None = None, *, runs: int = 600, seed: int
) -> ObjectiveQuality:
    """Learn weights in ``runs`` generated studies and choose by them; the same luck for a seed."""
    world, generator = studies or Studies(), torch.Generator().manual_seed(seed)
    parts = [
        _studied(scheme, world, min(_AT_ONCE, runs - start), generator)
        for start in range(0, runs, _AT_ONCE)
    ]
    return ObjectiveQuality(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _studied(
    scheme: Scheme, world: Studies, runs: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def shares() -> Tensor:
        drawn = torch.rand(runs, world.objectives, generator=generator, dtype=torch.float64)
        drawn = -(1 - drawn).log()
        return drawn / drawn.sum(-1, keepdim=True)

    truth, present = shares(), shares()
    common = normal(runs, world.users, 1)
    short = 0.5 * common + normal(runs, world.users, world.objectives)
    later = (short @ truth[..., None])[..., 0] + world.noise * normal(runs, world.users)
    effects = world.effect * normal(runs, world.compositions, world.objectives)
    effects[:, 0] = 0.0  # what serves
    worth = (effects @ truth[..., None])[..., 0]
    learnt = fit_weights(short, later, present, scheme)

    def taken(weights: Tensor) -> Tensor:
        place = (effects @ weights[..., None])[..., 0].argmax(-1)
        return worth.gather(1, place[:, None])[:, 0]

    return taken(learnt), taken(present), worth.amax(-1)
