"""The two small networks of a policy: what to try next (actor), and what it would bring (critic).

All weights are one vector, so that an optimiser and a file are a few lines. Densities are relative
to drawing uniformly: 0 is uniform, in every space, and so entropies are 0 at most. Knows nothing of
trials or of learning. S numbers describe a state, D a row of actions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.evolution.methods.policy_actions import Actions

HIDDEN = 64
_NARROWEST, _WIDEST = 0.06, 1.5
"""Deviations of a range's Gaussian, in lengths of the range. The widest is nearly uniform."""
_BEYOND = 0.1
"""The middle of the Gaussian may lie that far outside, so that both ends can be favoured."""
_ROOT2 = math.sqrt(2.0)
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Draws:
    """Factored distributions over rows, one for each of B states.

    Ranges: Gaussians cut off at 0 and 1, with ``middle`` and ``deviation`` (B, R). Choices:
    ``log_shares``, one (B, options) for each, logarithms of probabilities.
    """

    middle: Tensor
    deviation: Tensor
    log_shares: tuple[Tensor, ...]
    floor: Tensor
    """(B, R): the share of each Gaussian that lies below 0."""
    inside: Tensor
    """(B, R): the share that lies in [0, 1]."""

    @staticmethod
    def of(middle: Tensor, deviation: Tensor, log_shares: tuple[Tensor, ...]) -> Draws:
        """With the shares worked out."""
        floor = _below(-middle / deviation)
        return Draws(middle, deviation, log_shares, floor, _below((1 - middle) / deviation) - floor)

    def log_density(self, rows: Tensor) -> Tensor:
        """Logarithm of the density of rows (..., B, D) relative to uniform, (..., B)."""
        ranges = self.middle.shape[1]
        z = (rows[..., :ranges] - self.middle) / self.deviation
        scale = (self.deviation * self.inside).log().sum(1) + ranges * _LOG_ROOT_2PI
        total = -0.5 * z.square().sum(-1) - scale
        if self.log_shares:
            shares = torch.cat([part + math.log(part.shape[1]) for part in self.log_shares], 1)
            total = total + (rows[..., ranges:] * shares).sum(-1)
        return total

    def entropy(self) -> Tensor:
        """Entropy relative to uniform, (B,), at most 0."""
        low, high = -self.middle / self.deviation, (1 - self.middle) / self.deviation
        pull = (low * _bell(low) - high * _bell(high)) / (2 * self.inside)
        total = ((self.deviation * self.inside).log() + _LOG_ROOT_2PI + 0.5 + pull).sum(1)
        for log_share in self.log_shares:
            total = total - (log_share.exp() * log_share).sum(1) - math.log(log_share.shape[1])
        return total

    @torch.no_grad()
    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` rows for each state, (n, B, D), by the inverse of the distributions."""
        uniform = torch.rand((n, *self.middle.shape), generator=generator)
        z = _ROOT2 * torch.erfinv(2 * (self.floor + uniform * self.inside) - 1)
        parts = [(self.middle + self.deviation * z).clamp(0.0, 1.0)]
        for log_share in self.log_shares:
            noise = torch.rand((n, *log_share.shape), generator=generator).clamp(min=1e-9)
            drawn = (log_share - (-noise.log()).log()).argmax(-1)
            parts.append(torch.eye(log_share.shape[1])[drawn])
        return torch.cat(parts, -1)


class Networks:
    """Shapes of the weights for a space, and what the weights compute."""

    def __init__(self, actions: Actions, state_width: int) -> None:
        self.actions = actions
        self.outputs = 2 * len(actions.ranges) + sum(actions.options)
        self._shapes: list[tuple[int, ...]] = []
        for first, last in ((state_width, self.outputs), (state_width + actions.width, 1)):
            for inner, outer in pairwise((first, HIDDEN, HIDDEN, last)):
                self._shapes += [(outer, inner), (outer,)]
        self._shapes.append((1,))
        self.size = sum(math.prod(shape) for shape in self._shapes)

    def fresh(self, generator: torch.Generator) -> Tensor:
        """Weights (size,) with which all draws are nearly uniform and all values 0."""
        parts = []
        for place, shape in enumerate(self._shapes):
            # Of each network's six parts the first and the third are hidden matrices.
            scale = shape[1] ** -0.5 if place % 6 in (0, 2) and place < 12 else 0.0
            parts.append(scale * torch.randn(shape, generator=generator).flatten())
        return torch.cat(parts)

    def parts(self, weights: Tensor) -> tuple[Tensor, ...]:
        """The vector (size,) cut into matrices and biases: actor, critic, temperature."""
        split = torch.split(weights, [math.prod(shape) for shape in self._shapes])
        return tuple(part.view(shape) for part, shape in zip(split, self._shapes, strict=True))

    def draws(self, parts: Sequence[Tensor], states: Tensor) -> Draws:
        """What the actor would try in states (B, S)."""
        out = _layers(parts[:6], states)
        ranges = len(self.actions.ranges)
        middle = (1 + 2 * _BEYOND) * torch.sigmoid(out[:, :ranges]) - _BEYOND
        low, high = math.log(_NARROWEST), math.log(_WIDEST)
        # The 2 makes a fresh policy wide: a deviation of about one length of the range.
        share = torch.sigmoid(out[:, ranges : 2 * ranges] + 2.0)
        deviation = (low + (high - low) * share).exp()
        logits = torch.split(out[:, 2 * ranges :], list(self.actions.options), dim=1)
        return Draws.of(middle, deviation, tuple(part.log_softmax(1) for part in logits))

    def uniform(self, states: Tensor) -> Draws:
        """All rows alike, in states (B, S)."""
        shape = (len(states), len(self.actions.ranges))
        shares = (torch.zeros(len(states), n).log_softmax(1) for n in self.actions.options)
        return Draws.of(torch.full(shape, 0.5), torch.full(shape, 10.0), tuple(shares))

    def values(self, parts: Sequence[Tensor], states: Tensor, rows: Tensor) -> Tensor:
        """What the critic expects of rows (..., B, D) in states (B, S), (..., B)."""
        both = torch.cat([states.expand(*rows.shape[:-1], states.shape[1]), 2 * rows - 1], -1)
        return _layers(parts[6:12], both).squeeze(-1)

    @staticmethod
    def bound_temperature(weights: Tensor) -> None:
        """Keep the temperature between e^-6 and 2, in place.

        Bounded here and not where it is read: beyond a bound it would have no gradient, and what
        became uniform once would stay so.
        """
        weights[-1:].clamp_(-0.5, (1.0 + math.log(2.0)) / 10.0)

    def temperature(self, parts: Sequence[Tensor]) -> Tensor:
        """The price of entropy, a scalar above 0. The factor lets it move faster than weights."""
        return (10.0 * parts[12].squeeze() - 1.0).exp()


def _layers(parts: Sequence[Tensor], inputs: Tensor) -> Tensor:
    """Two hidden layers and a linear one; ``parts`` are their matrices and biases in turn."""
    hidden = torch.relu(functional.linear(inputs, parts[0], parts[1]))
    hidden = torch.relu(functional.linear(hidden, parts[2], parts[3]))
    return functional.linear(hidden, parts[4], parts[5])


def _below(z: Tensor) -> Tensor:
    """The standard normal distribution function."""
    return 0.5 * (1 + torch.erf(z / _ROOT2))


def _bell(z: Tensor) -> Tensor:
    """The standard normal density."""
    return torch.exp(-0.5 * z.square() - _LOG_ROOT_2PI)
