"""The same users twice: as a language model plays them, and as they were fitted."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from agenticrs.agents.simulation.outcome import Outcome
from agenticrs.rewards.significance import paired_bootstrap


@dataclass(frozen=True)
class Difference:
    """One signal: means over users, and the interval (95 %) of played less fitted."""

    signal: str
    fitted: float
    played: float
    low: float
    high: float


def compared(fitted: Outcome, rows: Tensor, played: Outcome, seed: int) -> list[Difference]:
    """Every signal of the users at ``rows`` of ``fitted``, who are all of ``played`` in order.

    Both had the same recommender, days and luck, so users are compared one by one.
    """
    found = []
    for name, values in played.signals.items():
        own = fitted.signals[name][rows]
        apart = paired_bootstrap(values, own, seed=seed)
        found.append(
            Difference(name, float(own.mean()), float(values.mean()), apart.low, apart.high)
        )
    return found
