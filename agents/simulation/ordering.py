"""Do outer rewards order recommenders as their accuracy on held-out items does?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from agenticrs.platform.errors import AgentError


@dataclass(frozen=True)
class Ordering:
    """Kendall's tau of two orderings, and its percentile interval over resampled users."""

    tau: float
    low: float
    high: float


def ordering(
    outer: Mapping[str, Tensor],
    heldout: Mapping[str, Tensor],
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int,
) -> Ordering:
    """Compare the means of two rewards, by recommender, (U,) each, of the same users in order.

    Both sides are resampled together: a user's outer reward and held-out accuracy stay a pair.
    With five recommenders tau has eleven possible values, so the interval is coarse.
    Raises AgentError unless both sides have the same recommenders, two at least, and users.
    """
    names = list(outer)
    sizes = {len(values) for side in (outer, heldout) for values in side.values()}
    if set(names) != set(heldout) or len(names) < 2 or len(sizes) != 1 or 0 in sizes:
        raise AgentError(
            f"orderings need the same recommenders and users, got {sorted(outer)} and "
            f"{sorted(heldout)} with {sorted(sizes)} users"
        )
    outside = torch.stack([outer[name].to(torch.float64) for name in names])
    inside = torch.stack([heldout[name].to(torch.float64) for name in names])
    generator = torch.Generator().manual_seed(seed)
    n = outside.shape[1]
    drawn = []
    for _ in range(samples):
        rows = torch.randint(n, (n,), generator=generator)
        drawn.append(kendall(outside[:, rows].mean(1), inside[:, rows].mean(1)))
    tail = (1 - level) / 2
    ends = torch.quantile(
        torch.tensor(drawn, dtype=torch.float64),
        torch.tensor([tail, 1 - tail], dtype=torch.float64),
    )
    return Ordering(kendall(outside.mean(1), inside.mean(1)), float(ends[0]), float(ends[1]))


def kendall(a: Tensor, b: Tensor) -> float:
    """Kendall's tau-a: pairs in the same order less pairs in the other, over all; ties count 0."""
    signs = [
        float(torch.sign(a[i] - a[j]) * torch.sign(b[i] - b[j]))
        for i, j in combinations(range(len(a)), 2)
    ]
    return sum(signs) / len(signs) if signs else 0.0
