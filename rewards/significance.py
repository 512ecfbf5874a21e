"""Is a gain more than chance? Bootstrap over users, paired where two systems served the same ones.

Resampling users (not impressions) respects that one user's outcomes hang together. Memory is
bounded: resamples are drawn a block at a time, and the result doesn't depend on the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval, and the p-value of "the true mean is 0"."""

    mean: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    candidate: Tensor,
    champion: Tensor,
    *,
    samples: int = 2000,
    level: float = 0.95,
    seed: int,
) -> Interval:
    """Interval of the mean of ``candidate - champion``, both (U,) rewards of the same users.

    See ``bootstrap_mean``. Raises ValueError when the shapes differ.
    """
    if candidate.shape != champion.shape:
        raise ValueError(
            f"rewards must be of the same users, got {len(candidate)} and {len(champion)}"
        )
    difference = candidate.to(torch.float64) - champion.to(torch.float64)
    return bootstrap_mean(difference, samples=samples, level=level, seed=seed)


def bootstrap_mean(
    values: Tensor, *, samples: int = 2000, level: float = 0.95, seed: int
) -> Interval:
    """Percentile interval and two-sided p-value of the mean of ``values`` (U,).

    The p-value is (1 + b) / (1 + samples), b the number of resamples whose mean lies at least as
    far from the observed mean as that lies from 0 (Efron & Tibshirani 1993, section 16.4;
    Davison & Hinkley 1997 for the ones). The same values and seed give the same answer.
    Raises ValueError for no values, values that are not finite, or an impossible level.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values must be a vector with at least one user, got {values.shape}")
    if not 0.0 < level < 1.0 or samples < 1:
        raise ValueError(f"need 0 < level < 1 and samples >= 1, got {level} and {samples}")
    exact = values.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(exact).all()):
        raise ValueError("values must be finite")
    mean = exact.mean()
    means = _resampled_means(exact, samples, seed)
    tail = (1.0 - level) / 2.0
    low, high = torch.quantile(means, torch.tensor([tail, 1.0 - tail], dtype=torch.float64))
    # Sums in another order differ in the last bits; equal must stay equal.
    slack = 1e-12 * (exact.abs().max() + 1e-300)
    extreme = int(((means - mean).abs() >= mean.abs() - slack).sum())
    return Interval(float(mean), float(low), float(high), (1 + extreme) / (1 + samples))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the family-wise error (Holm 1979), in the given order.

    Rejecting what is at most alpha keeps the chance of any false rejection at most alpha.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = worst
    return adjusted


def _resampled_means(values: Tensor, samples: int, seed: int) -> Tensor:
    """Means of ``samples`` draws with replacement, (samples,)."""
    generator = torch.Generator().manual_seed(seed)
    n = len(values)
    means = torch.empty(samples, dtype=torch.float64)
    at_once = max(1, _CELLS_AT_ONCE // n)
    for start in range(0, samples, at_once):
        stop = min(start + at_once, samples)
        drawn = torch.randint(n, (stop - start, n), generator=generator)
        means[start:stop] = values[drawn].mean(1)
    return means
