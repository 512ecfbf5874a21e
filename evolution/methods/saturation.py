"""When a search has nothing more to give, told from what was tried alone.

Two rules. *Plateau*: the last ``window`` candidates brought no gain that counts. *Regret*: drawn
like the last ones, all candidates that are left are together expected to gain less than what
counts. The expected gain of one is that of a normal variable with the mean and the spread of the
last rewards (expected improvement, Jones et al. 1998); a candidate that was stopped early or failed
is one without a gain. Times as many as are left this bounds from above what stopping forgoes, as
long as the method does not draw better than it did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, pstdev

from agenticrs.evolution.methods.method import Tried

WINDOW = 8
"""Candidates that are looked at."""
LEAST = 0.005
"""Gains below this share of the best reward do not count: they are smaller than what the seed of a
training changes."""


@dataclass(frozen=True)
class Saturation:
    """A search has nothing more to give, and how that shows."""

    reason: str


def saturated(
    tried: Sequence[Tried],
    *,
    window: int = WINDOW,
    least: float = LEAST,
    left: int | None = None,
) -> Saturation | None:
    """Whether to stop; None: go on. ``left`` is how many candidates may follow (None: unknown)."""
    closed = [one for one in tried if one.state != "open"]
    if len(closed) < window:
        return None
    before, last = closed[:-window], closed[-window:]
    best = _best(closed)
    if best is None:
        return Saturation(
            f"none of {len(closed)} candidates could be trained and measured to its end"
        )
    counts = least * abs(best)
    earlier = _best(before)
    if earlier is not None and best - earlier <= counts:
        return Saturation(
            f"no gain of more than {least:.1%} of the best reward, {best:.4f}, "
            f"in the last {window} candidates"
        )
    if left is not None:
        gain = left * expected_gain(last, best)
        if gain < counts:
            return Saturation(
                f"the {left} candidates that are left would be expected to gain "
                f"{gain:.2g} together, less than {least:.1%} of the best reward, {best:.4f}"
            )
    return None


def gains(before: Sequence[Tried], since: Sequence[Tried], least: float = LEAST) -> bool:
    """Whether candidates brought a gain that counts over those before them."""
    earlier, later = _best(before), _best(since)
    if earlier is None or later is None:
        return later is not None
    return later - earlier > least * abs(max(earlier, later))


def expected_gain(last: Sequence[Tried], best: float) -> float:
    """By how much one more candidate like the last ones is expected to exceed ``best``."""
    rewards = _rewards(last)
    if not rewards:
        return 0.0
    mean, spread = fmean(rewards), pstdev(rewards)
    if spread == 0.0:
        return 0.0
    z = (mean - best) / spread
    normal = NormalDist()
    gain = spread * (z * normal.cdf(z) + normal.pdf(z))
    return gain * len(rewards) / len(last)


def _best(tried: Sequence[Tried]) -> float | None:
    return max(_rewards(tried), default=None)


def _rewards(tried: Sequence[Tried]) -> list[float]:
    """Finite rewards of those that are done."""
    return [
        one.reward
        for one in tried
        if one.state == "done" and one.reward is not None and math.isfinite(one.reward)
    ]
