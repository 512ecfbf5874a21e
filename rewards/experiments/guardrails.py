"""What a change may not spoil, whatever it gains: tests of "at most so much worse".

A guardrail is *broken* when it is established that the metric got worse by more than is tolerated,
*kept* when it is established that it did not by more than the margin, else *undecided*: not having
seen harm is not having seen that there is none. Sizes are relative to the control's mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agenticrs.rewards.experiments.sequential import Gathered, lift

Verdict = Literal["kept", "broken", "undecided"]


@dataclass(frozen=True)
class Guardrail:
    """A metric, and how much worse it may get: ``margin`` 0.05 is 5 % of the control's mean."""

    metric: str
    margin: float
    larger_is_better: bool = False
    tolerated: float | None = None
    """Loss from which on it is broken, where that is not the margin."""

    def __post_init__(self) -> None:
        if not self.margin > 0 or (self.tolerated is not None and self.tolerated < 0):
            raise ValueError(
                f"{self.metric}: margin must be above 0 and tolerated not below, got "
                f"{self.margin} and {self.tolerated}"
            )


@dataclass(frozen=True)
class Judged:
    """A verdict, with the gain (negative: a loss, in the metric's good direction) behind it."""

    verdict: Verdict
    gain: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.gain:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


def judge(
    guardrail: Guardrail, seen: Gathered, *, alpha: float, planned: float, share: float = 1.0
) -> Judged:
    """At any time, as often as one likes (``sequential.difference``).

    ``share`` is how much of the traffic the verdict is for: where a tenth of the users are exposed,
    a loss of ten margins among them is one margin for all. It widens what is kept, not what is
    broken: what harms is harmful to the few as well.
    """
    found = lift(seen, alpha=alpha, planned=planned)
    found = found if guardrail.larger_is_better else found.scaled(-1)
    tolerated = guardrail.margin if guardrail.tolerated is None else guardrail.tolerated
    verdict: Verdict = "undecided"
    if found.high < -tolerated:
        verdict = "broken"
    elif found.low > -guardrail.margin / share:
        verdict = "kept"
    return Judged(verdict, found.mean, found.low, found.high)
