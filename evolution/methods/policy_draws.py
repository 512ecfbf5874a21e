"""The form of a policy: a density of rows for each state, linear in features of both.

The density of a row is the exponential of ``features of the state @ weights @ features of the
row``, over its sum: an exponential family, factored over the parameters of the space. Whatever a
critic of the same form expects can be put into its weights directly, which is what makes learning
a few lines. Densities are relative to drawing uniformly: log density 0 is uniform, in every space,
and so entropies are 0 at most. Knows nothing of trials or of learning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_situation import HISTORY_WIDTH, SITUATION_WIDTH

FloatArray = npt.NDArray[np.float64]

_WAVES = 4
"""Cosines for each range: what a place is worth is a smooth curve over the range."""
_SMOOTHNESS = 1.5
"""The k-th cosine is scaled by k to minus this."""
_CELLS = 64
"""Cells of a range in which a density is constant."""
_SITUATION, _HISTORY, _BEST = 1.5, 0.05, 0.05
"""Scales of the parts of a state: how far each is thought to move what is good."""


@dataclass(frozen=True)
class Features:
    """Features of the states and rows of one space. Z numbers for a state, M for a row."""

    actions: Actions

    @property
    def state_width(self) -> int:
        """S: numbers of the situation, of the history, and of the best row so far."""
        return SITUATION_WIDTH + HISTORY_WIDTH + self.actions.width

    @property
    def shape(self) -> tuple[int, int]:
        """(Z, M), the shape of a policy's weights."""
        return 1 + self.state_width, _WAVES * len(self.actions.ranges) + sum(self.actions.options)

    def of_states(self, states: FloatArray) -> FloatArray:
        """(T, S) -> (T, Z): a constant, and the parts to their scales."""
        widths = (SITUATION_WIDTH, HISTORY_WIDTH, self.actions.width)
        scales = np.repeat((_SITUATION, _HISTORY, _BEST), widths)
        return np.concatenate([np.ones((len(states), 1)), scales * states], axis=1)

    def of_rows(self, rows: FloatArray) -> FloatArray:
        """(T, D) -> (T, M): cosines of places, choices around 0."""
        ranges = len(self.actions.ranges)
        parts = [_cosines(rows[:, place]) for place in range(ranges)]
        start = ranges
        for options in self.actions.options:
            parts.append(rows[:, start : start + options] - 1 / options)
            start += options
        return np.concatenate(parts, axis=1)

    def draws(self, strengths: FloatArray) -> Draws:
        """The distributions in B states, whose features times the weights are these (B, M)."""
        curves = _cosines((np.arange(_CELLS) + 0.5) / _CELLS)  # (cells, waves)
        ranges = _WAVES * len(self.actions.ranges)
        split = strengths[:, :ranges].reshape(len(strengths), -1, _WAVES)
        starts = np.cumsum([ranges, *self.actions.options])
        choices = [
            strengths[:, start : start + options]
            for start, options in zip(starts, self.actions.options, strict=False)
        ]
        return Draws(
            _log_shares(split @ curves.T), tuple(_log_shares(choice) for choice in choices)
        )

    def uniform(self) -> Draws:
        """One state in which all rows are alike."""
        return self.draws(np.zeros((1, self.shape[1])))


@dataclass(frozen=True)
class Draws:
    """Factored distributions over rows, one for each of B states, in logarithms of shares."""

    cells: FloatArray
    """(B, R, cells): of the cells of each range."""
    options: tuple[FloatArray, ...]
    """(B, options) for each choice."""

    def log_density(self, rows: FloatArray) -> FloatArray:
        """Logarithm of the density of a row (B, D) in each state relative to uniform, (B,)."""
        ranges = self.cells.shape[1]
        hit = np.minimum((rows[:, :ranges] * _CELLS).astype(int), _CELLS - 1)
        chosen = np.take_along_axis(self.cells, hit[:, :, None], axis=2)
        total = chosen.sum(axis=(1, 2)) + ranges * math.log(_CELLS)
        start = ranges
        for shares in self.options:
            options = shares.shape[1]
            total = total + (rows[:, start : start + options] * shares).sum(1) + math.log(options)
            start += options
        return np.asarray(total)

    def entropy(self) -> FloatArray:
        """Entropy relative to uniform, (B,), at most 0."""
        total = -(np.exp(self.cells) * (self.cells + math.log(_CELLS))).sum(axis=(1, 2))
        for shares in self.options:
            total = total - (np.exp(shares) * (shares + math.log(shares.shape[1]))).sum(1)
        return np.asarray(total)

    def expected(self) -> FloatArray:
        """Mean features of a row, (B, M)."""
        curves = _cosines((np.arange(_CELLS) + 0.5) / _CELLS)
        ranges = (np.exp(self.cells) @ curves).reshape(len(self.cells), -1)
        choices = [np.exp(shares) - 1 / shares.shape[1] for shares in self.options]
        return np.concatenate([ranges, *choices], axis=1)

    def draw(self, n: int, generator: np.random.Generator) -> FloatArray:
        """``n`` rows for the first state, (n, D)."""
        parts = []
        for log_shares in self.cells[0]:
            hit = generator.choice(_CELLS, size=n, p=_shares(log_shares))
            parts.append(((hit + generator.uniform(size=n)) / _CELLS)[:, None])
        for shares in self.options:
            options = shares.shape[1]
            parts.append(np.eye(options)[generator.choice(options, size=n, p=_shares(shares[0]))])
        return np.concatenate(parts, axis=1)


def _cosines(places: FloatArray) -> FloatArray:
    """(T,) -> (T, waves)."""
    waves = np.arange(1, _WAVES + 1)
    return np.asarray(np.cos(np.pi * places[:, None] * waves) / waves**_SMOOTHNESS)


def _log_shares(strengths: FloatArray) -> FloatArray:
    """Logarithm of the shares that strengths have along the last axis."""
    shifted = strengths - strengths.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _shares(log_shares: FloatArray) -> FloatArray:
    shares = np.exp(log_shares)
    return np.asarray(shares / shares.sum())
