"""Inner and outer reward in one number: score = (1 - w) lift(inner) + w lift(outer).

Lifts are relative to the champion, so that a metric in hundredths and one in minutes can be
added. An agent's ``outer_weight`` is w: small for most, at least one half for key agents.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FLOOR = 1e-6


def lift(candidate: float, champion: float, floor: float = _FLOOR) -> float:
    """(candidate - champion) / champion.

    Below ``floor`` a champion's reward is no unit to measure in (anything divided by it is
    enormous): then the lift is the plain difference. So a first candidate beside a champion that
    earns nothing is lifted by its own reward.
    """
    return (candidate - champion) / unit(champion, floor)


def blended_score(
    inner: float, inner_champion: float, outer: float, outer_champion: float, weight: float
) -> float:
    """(1 - weight) lift(inner) + weight lift(outer); 0 for the champion itself.

    Raises ValueError when ``weight`` is not in [0, 1].
    """
    _check(weight)
    return (1 - weight) * lift(inner, inner_champion) + weight * lift(outer, outer_champion)


def blended_difference(
    inner: Tensor, inner_champion: Tensor, outer: Tensor, outer_champion: Tensor, weight: float
) -> Tensor:
    """Each user's share of the score, (U,) float64: its mean is ``blended_score`` of the means.

    All arguments are (U,) rewards of the same users in the same order. Dividing by the
    champion's *mean* keeps the vector linear in the rewards, so a paired test of it is a test of
    the score itself. Raises ValueError when shapes differ or ``weight`` is not in [0, 1].
    """
    _check(weight)
    if not inner.shape == inner_champion.shape == outer.shape == outer_champion.shape:
        raise ValueError(
            "rewards must be of the same users, got shapes "
            f"{[tuple(t.shape) for t in (inner, inner_champion, outer, outer_champion)]}"
        )
    inside = relative_lift(inner, inner_champion)
    outside = relative_lift(outer, outer_champion)
    return (1 - weight) * inside + weight * outside


def joined_lift(everybody: Tensor, some: Tensor, rows: Tensor, share: float) -> Tensor:
    """Two lifts in one vector: one of all users, and ``share`` of one that only some of them have.

    ``everybody`` is (U,), ``some`` (n,) belongs to the users at ``rows`` (n,); the result is (U,)
    float64. Its mean is the weighted sum of both means, and it spreads as that sum does (each of
    the n is moved away from their mean U / n times as far): a test of the vector is a test of the
    sum. Raises ValueError when ``share`` is not in [0, 1], or ``some`` is empty or without rows.
    """
    _check(share)
    if not len(some) or len(some) != len(rows):
        raise ValueError(f"{len(some)} lifts belong to {len(rows)} users")
    exact = some.to(torch.float64)
    mean = exact.mean()
    told = mean.repeat(len(everybody))
    told[rows] += (exact - mean) * (len(everybody) / len(some))
    return (1 - share) * everybody.to(torch.float64) + share * told


def relative_lift(candidate: Tensor, champion: Tensor) -> Tensor:
    """Each user's share of a lift, (U,) float64: its mean is ``lift`` of the means."""
    before = champion.to(torch.float64)
    return (candidate.to(torch.float64) - before) / unit(float(before.mean()))


def unit(champion: float, floor: float = _FLOOR) -> float:
    """What a lift over a reward is measured in: its size, or 1 below ``floor``."""
    return abs(champion) if abs(champion) >= floor else 1.0


def _check(weight: float) -> None:
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight must lie in [0, 1], got {weight}")
