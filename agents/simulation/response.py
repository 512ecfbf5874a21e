"""How users respond to what they see, fitted to a log: take it, watch or rate it, react, leave.

Two small networks on the features of ``mind.FEATURES``. The first gives the chance of each level of
the measure (and, where a log holds only what was taken, of taking the item at all); the second,
which also sees how much was watched, that of each reaction and of leaving. Both are then calibrated
on users that they have not learnt from: a temperature and an offset for each level, a scale and an
offset for every other chance (Platt 1999; Guo et al. 2017, arXiv 1706.04599).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.agents.simulation.mind import FEATURES
from agenticrs.agents.simulation.network import Network, Tasks
from agenticrs.agents.simulation.signals import Signals

_CONSTANT = 1e-3
_FAR = 5.0
"""Standard deviations beyond which nothing was learnt."""


@dataclass(frozen=True)
class Examples:
    """Events to learn from, R rows.

    ``refused`` (R * m, F) are the features of items that were not taken in the same moments; empty
    where the log holds what was shown.
    """

    features: Tensor
    refused: Tensor
    level: Tensor
    amount: Tensor
    seconds: Tensor
    reactions: Tensor
    leaves: Tensor


@dataclass(frozen=True)
class Answers:
    """Chances: ``levels`` (n, L), ``takes`` (n,), all 1 where whatever is seen is an event."""

    levels: Tensor
    takes: Tensor


@dataclass(frozen=True)
class Response:
    """The fitted model; features are read as distances from ``centre`` in units of ``spread``."""

    signals: Signals
    centre: Tensor
    spread: Tensor
    first: Network
    second: Network

    @staticmethod
    def fit(examples: Examples, others: Examples, signals: Signals, seed: int) -> Response:
        """Learn from the examples, calibrate on those of other users."""
        rows = torch.cat([examples.features, examples.refused])
        centre, spread = rows.mean(0), rows.std(0)
        spread[spread < _CONSTANT] = torch.inf  # what is always the same tells nothing
        if not signals.timed:  # where in the whole history an event stands is no fatigue
            spread[FEATURES.index("fatigue")] = torch.inf
        generator = torch.Generator().manual_seed(seed)

        def scaled(features: Tensor) -> Tensor:
            return _scaled(features, centre, spread)

        def first(of: Examples) -> Tasks:
            faced = torch.cat([of.features, of.refused])
            level = torch.cat([of.level, of.level.new_full((len(of.refused),), -1)])
            taken = torch.zeros(len(faced), 0 if signals.shown else 1)
            taken[: len(of.features)] = 1.0
            return Tasks(scaled(faced), level, signals.n_levels, taken)

        def second(of: Examples) -> Tasks:
            watched = _watched(scaled(of.features), of.amount, of.seconds, signals)
            left = [of.leaves[:, None]] if signals.timed else []
            none = of.level.new_full((len(watched),), -1)
            return Tasks(watched, none, 0, torch.cat([of.reactions, *left], 1))

        return Response(
            signals,
            centre,
            spread,
            first=Network.fit(first(examples), first(others), generator),
            second=Network.fit(second(examples), second(others), generator),
        )

    def answers(self, features: Tensor) -> Answers:
        """Chances of each level and of taking the item; ``features`` (n, F)."""
        outputs = self.first(_scaled(features, self.centre, self.spread))
        n = self.signals.n_levels
        takes = torch.ones(len(features)) if self.signals.shown else outputs[:, n].sigmoid()
        return Answers(outputs[:, :n].softmax(1), takes)

    def reactions(self, features: Tensor, amount: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
        """Chances of each reaction, (n, R), and of leaving, (n,), after that much was watched.

        Leaving is 0 where the log does not tell.
        """
        n = len(self.signals.reactions)
        if not n and not self.signals.timed:
            return torch.zeros(len(features), 0), torch.zeros(len(features))
        scaled = _scaled(features, self.centre, self.spread)
        chances = self.second(_watched(scaled, amount, seconds, self.signals)).sigmoid()
        leaves = chances[:, n] if self.signals.timed else torch.zeros(len(features))
        return chances[:, :n], leaves


def _scaled(features: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    return ((features - centre) / spread).clamp(-_FAR, _FAR)


def _watched(scaled: Tensor, amount: Tensor, seconds: Tensor, signals: Signals) -> Tensor:
    """The features, and how much was watched: as it is, as contentment, in seconds."""
    known = amount.nan_to_num(0.0)
    content = known.clamp(max=1.0)
    if signals.measure == "rating":
        content = (known - signals.low) / max(signals.high - signals.low, 1e-6)
    told = torch.stack([known.clamp(max=5.0), content, seconds.log1p()], 1)
    return torch.cat([scaled, told], 1)
