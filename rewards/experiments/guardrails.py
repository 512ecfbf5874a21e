"""What a change may not spoil, whatever it gains: tests of "at most so much worse".

A guardrail is *broken* when it is established that the metric got worse by more than is tolerated,
*kept* when it is established that it did not by more than the margin, else *undecided*: not having
seen harm is not having seen that there is none. Sizes are relative to the control's mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    worst: float | None = None
    """The most that even the few who are exposed may lose; None: all that is one margin for all."""

    def __post_init__(self) -> None:
        worst_is_less = self.worst is not None and self.worst < self.margin
        if not self.margin > 0 or (self.tolerated or 0.0) < 0 or worst_is_less:
            raise ValueError(
                f"{self.metric}: need margin > 0, tolerated >= 0 and worst >= margin, got "
                f"{self.margin}, {self.tolerated} and {self.worst}"
            )

    def tightened(self, part: float) -> Guardrail:
        """With that part of the margin, in (0, 1]; what counts as broken stays as it is."""
        tolerated = self.margin if self.tolerated is None else self.tolerated
        return replace(self, margin=part * self.margin, tolerated=tolerated)

    def allowed(self, share: float) -> float:
        """The loss among the exposed that is one margin for all users, or the worst."""
        spread = self.margin / share
        return spread if self.worst is None else min(spread, self.worst)


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
    a loss of ten margins among them is one margin for all. It widens what is kept (up to the
    worst), not what is broken: what harms is harmful to the few as well.
    """
    found = lift(seen, alpha=alpha, planned=planned)
    found = found if guardrail.larger_is_better else found.scaled(-1)
    tolerated = guardrail.margin if guardrail.tolerated is None else guardrail.tolerated
    verdict: Verdict = "undecided"
    if found.high < -tolerated:
        verdict = "broken"
    elif found.low > -guardrail.allowed(share):
        verdict = "kept"
    return Judged(verdict, found.mean, found.low, found.high)
