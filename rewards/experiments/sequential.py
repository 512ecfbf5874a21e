"""A difference between two arms that may be looked at as often as one likes.

A test at 5 % that is looked at every day, and stopped when it says yes, says yes to nothing far
more often than in 5 %. The intervals here hold the truth at *all* times together with probability
1 - alpha, so that looking, stopping and going on are free. They are asymptotic confidence sequences
(Waudby-Smith et al. 2024, Time-uniform central limit theory), in their form the mixture sequential
probability ratio test with a normal mixture (Robbins 1970; Johari, Koomen, Pekelis & Walsh 2022,
Always valid inference).

Arms are compared within a step (a day, an hour) and steps are added up, each with its effective
size h = n1 n0 / (n1 + n0), which no reward influences. So neither a baseline that moves from day to
day nor shares that change on the way can pass for a difference. A user counts once: steps must be
of different users, or of rewards that came due in that step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.platform.errors import DataError
from agenticrs.rewards.blend import unit

_ENOUGH = 10
"""Users of each arm from which on a spread is known well enough to speak of it."""


@dataclass(frozen=True)
class Sample:
    """A metric of one arm in one step: how many users, their mean and variance (over n - 1)."""

    n: int
    mean: float
    variance: float

    @staticmethod
    def of(values: Tensor) -> Sample:
        """From one value for each user, (n,). Raises DataError when one is not finite."""
        exact = values.detach().to("cpu", torch.float64)
        if not bool(exact.isfinite().all()):
            raise DataError("values of users must be finite")
        n = len(exact)
        mean = float(exact.mean()) if n else 0.0
        return Sample(n, mean, float(exact.var()) if n > 1 else 0.0)


@dataclass(frozen=True)
class Always:
    """A difference, and the interval that is always valid; ``p_value`` of "there is none"."""

    mean: float
    low: float
    high: float
    p_value: float

    def scaled(self, unit: float) -> Always:
        """The same in other units; a negative unit turns it round."""
        ends = sorted((self.low * unit, self.high * unit))
        return Always(self.mean * unit, ends[0], ends[1], self.p_value)


@dataclass(frozen=True)
class Gathered:
    """All that was seen so far of one metric in two arms: sums only, the same size for ever."""

    size: float = 0.0
    """Sum of h, the effective number of users."""
    score: float = 0.0
    """Sum of h (mean of treatment - mean of control)."""
    level: float = 0.0
    """Sum of h (mean of control)."""
    treated: int = 0
    controls: int = 0
    per_treated: float = 0.0
    """Sum of h^2 / n1: what a variance of 1 in the treatment adds to the score's."""
    per_control: float = 0.0
    within_treated: float = 0.0
    """Sums of squares within steps, and their degrees of freedom."""
    within_control: float = 0.0
    freedom_treated: int = 0
    freedom_control: int = 0

    def seen(self, treatment: Sample, control: Sample) -> Gathered:
        """With another step. One where an arm has nobody tells nothing of the difference."""
        if not treatment.n or not control.n:
            return self
        h = treatment.n * control.n / (treatment.n + control.n)
        return Gathered(
            size=self.size + h,
            score=self.score + h * (treatment.mean - control.mean),
            level=self.level + h * control.mean,
            treated=self.treated + treatment.n,
            controls=self.controls + control.n,
            per_treated=self.per_treated + h**2 / treatment.n,
            per_control=self.per_control + h**2 / control.n,
            within_treated=self.within_treated + (treatment.n - 1) * treatment.variance,
            within_control=self.within_control + (control.n - 1) * control.variance,
            freedom_treated=self.freedom_treated + treatment.n - 1,
            freedom_control=self.freedom_control + control.n - 1,
        )

    @property
    def usual(self) -> float:
        """Mean of the control, steps weighted as in the difference."""
        return self.level / self.size if self.size else 0.0

    @property
    def unit(self) -> float:
        """What a lift is measured in: the control's mean, or 1 where that is practically 0."""
        return unit(self.usual)

    @property
    def variance(self) -> float:
        """Of the score, per effective user.

        A small arm that has not seen a rare event yet seems not to vary at all, so its spread
        counts at least as much as that of both together.
        """
        freedom = self.freedom_treated + self.freedom_control
        both = (self.within_treated + self.within_control) / max(1, freedom)
        treated = max(self.within_treated / max(1, self.freedom_treated), both)
        control = self.within_control / max(1, self.freedom_control)
        return (treated * self.per_treated + control * self.per_control) / max(self.size, 1e-300)


def difference(seen: Gathered, *, alpha: float, planned: float) -> Always:
    """Treatment less control, with an interval of level 1 - alpha that holds at all times.

    ``planned`` is the effective size (n1 n0 / (n1 + n0)) at which the interval shall be narrowest
    compared with one at a fixed time; set before the first look. Before there are ten users in both
    arms nothing is said. With r = ``mixing(planned)``, the reach of the score is
    sd sqrt((size + r) (log((size + r) / r) - 2 log alpha)).
    """
    if not 0.0 < alpha < 1.0 or not planned > 0:
        raise ValueError(f"need 0 < alpha < 1 and planned > 0, got {alpha} and {planned}")
    if min(seen.freedom_treated, seen.freedom_control) < _ENOUGH - 1:
        return Always(0.0, -math.inf, math.inf, 1.0)
    mean, variance = seen.score / seen.size, seen.variance
    if variance <= 0.0:  # everybody is alike: there is nothing that chance could have done
        return Always(mean, mean, mean, 0.0 if mean else 1.0)
    r = mixing(planned, alpha)
    longer = (seen.size + r) / r
    reach = math.sqrt(variance * (seen.size + r) * (math.log(longer) - 2 * math.log(alpha)))
    evidence = seen.score**2 / (2 * variance * (seen.size + r)) - 0.5 * math.log(longer)
    return Always(
        mean, mean - reach / seen.size, mean + reach / seen.size, math.exp(-max(0.0, evidence))
    )


def lift(seen: Gathered, *, alpha: float, planned: float) -> Always:
    """The same relative to the control's mean, which the many users of a control tell exactly."""
    return difference(seen, alpha=alpha, planned=planned).scaled(1 / seen.unit)


def mixing(planned: float, alpha: float) -> float:
    """The mixture's r that makes the interval narrowest at that size (Waudby-Smith et al.)."""
    twice = -2 * math.log(alpha)
    return planned / (twice + math.log(1 + twice))
