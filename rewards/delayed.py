"""Rewards that come later: whose they are, what they are still worth, and those not due yet.

What was shown is an *exposure*; what a user does afterwards are *events*. An event belongs to the
user's latest exposure before it, when that is at most a window ago, and counts less the later it
comes. Recent exposures have not had their whole window yet: leaving them out would judge last week,
counting them as they are would call everything new worthless.

Estimator: an event that came after a delay d counts n / Y(d) times, with Y(d) how many of the n
exposures have been watched for d at least. The mean over exposures is then the discounted mean
cumulative function (Lawless & Nadeau 1995), which is inverse-probability-of-censoring weighting
(Bang & Tsiatis 2000) with the probability known, since only the present censors. It is right as
long as an exposure's rewards do not depend on when it took place: not when behaviour drifts within
the window, and arms of an experiment that began at different times need a call each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.platform.errors import DataError


@dataclass(frozen=True)
class Attribution:
    """How long after an exposure an event still counts, and how fast it loses worth (seconds)."""

    window: float
    half_life: float = float("inf")
    """An event that comes so much later counts half."""

    def __post_init__(self) -> None:
        if not (0 < self.window < float("inf") and self.half_life > 0):
            raise ValueError(
                f"need 0 < window < inf and half_life > 0, got {self.window} and {self.half_life}"
            )

    def discount(self, delay: Tensor) -> Tensor:
        """2^(-delay / half_life), in (0, 1]."""
        return torch.exp2(-delay.to(torch.float64) / self.half_life)


@dataclass(frozen=True)
class Delayed:
    """``reward`` (n,) float64: its mean is the estimate; one entry alone means little.

    ``due`` (n,) bool: exposures whose whole window is over.
    """

    reward: Tensor
    due: Tensor


def attributed(
    exposed_user: Tensor, exposed_at: Tensor, event_user: Tensor, event_at: Tensor
) -> Tensor:
    """For each event the exposure it belongs to, (E,) indices; -1 where there was none before it.

    The latest of the user's exposures at or before the event (last touch). Users are codes, times
    seconds; neither needs to be in order.
    """
    if not len(exposed_user) or not len(event_user):
        return torch.full((len(event_user),), -1, dtype=torch.int64)
    times, rank = torch.unique(torch.cat([exposed_at, event_at]), return_inverse=True)
    stride = len(times)
    keys, order = (exposed_user * stride + rank[: len(exposed_at)]).sort(stable=True)
    wanted = event_user * stride + rank[len(exposed_at) :]
    place = torch.searchsorted(keys, wanted, right=True) - 1
    found = order[place.clamp(min=0)]
    own = (place >= 0) & (exposed_user[found] == event_user)
    return torch.where(own, found, -1)


def delayed_reward(
    exposed_at: Tensor,
    exposure: Tensor,
    event_at: Tensor,
    value: Tensor,
    attribution: Attribution,
    *,
    now: float,
) -> Delayed:
    """What each exposure earned within its window, with those not due yet made up for.

    ``exposed_at`` (n,); for each event its ``exposure`` (E,) (``attributed``; -1 counts for
    nobody), time and value. Raises DataError when something lies in the future, an event comes
    before its exposure, or no exposure has had its whole window: then its end is not known at all.
    """
    began = exposed_at.to(torch.float64)
    watched = now - began
    if not len(began) or bool((watched < 0).any()) or bool((event_at > now).any()):
        raise DataError("need exposures, none of them and no event in the future")
    due = watched >= attribution.window
    if not bool(due.any()):
        raise DataError(
            f"no exposure is {attribution.window:g} s old yet, the longest {watched.max():g} s",
            hint="wait, or shorten the window",
        )
    counts = exposure >= 0
    owner = exposure[counts]
    delay = event_at[counts].to(torch.float64) - began[owner]
    if bool((delay < 0).any()):
        raise DataError("an event comes before its exposure", hint="attribute events anew")
    inside = delay <= attribution.window
    owner, delay, worth = owner[inside], delay[inside], value[counts][inside].to(torch.float64)
    ascending = watched.sort().values
    at_risk = len(began) - torch.searchsorted(ascending, delay)
    share = worth * attribution.discount(delay) * len(began) / at_risk
    return Delayed(torch.zeros_like(began).index_add_(0, owner, share), due)
