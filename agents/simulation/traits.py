"""Traits of users by the definitions of Agent4Rec (Zhang et al. 2024, arXiv 2310.10108).

=========== ============================================================ ============
trait       of user u with ratings r_ui and item means r_i               tiers end at
=========== ============================================================ ============
activity    number of ratings                                            60 %, 90 %
conformity  mean over i of (r_ui - r_i)^2: low follows the crowd         25 %, 80 %
diversity   genres, largest first, that together hold at most 80 % of    33 %, 66 %
            the user's genre mass
=========== ============================================================ ============

Percentiles are over the users that have the trait; who lies exactly on an end is above it, as in
the published tiers. Where a log has no ratings its leading measure (watch ratio) stands in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.agents.simulation.logbook import Logbook

_ENDS = {"activity": (0.6, 0.9), "conformity": (0.25, 0.8), "diversity": (0.33, 0.66)}
_MASS = 0.8


@dataclass(frozen=True)
class Traits:
    """Each (U,) float32; NaN for a user without events (or, diversity, without any genre)."""

    activity: Tensor
    conformity: Tensor
    diversity: Tensor

    @staticmethod
    def of(log: Logbook, tags: Tensor, n_users: int) -> Traits:
        """Measure the users of a log; ``tags`` (n_items, G) of 0 and 1 are genres."""
        return Traits(
            activity=_or_nan(torch.bincount(log.user, minlength=n_users).to(torch.float32)),
            conformity=_conformity(log, len(tags), n_users),
            diversity=_diversity(log, tags, n_users),
        )

    def tiers(self) -> dict[str, Tensor]:
        """Tier of each user and trait, (U,) int64: 1, 2 or 3, and 0 where there is none."""
        return {name: _tier(getattr(self, name), ends) for name, ends in _ENDS.items()}


def _conformity(log: Logbook, n_items: int, n_users: int) -> Tensor:
    known = ~log.amount.isnan()
    user, item, amount = log.user[known], log.item[known], log.amount[known].to(torch.float64)
    mean = _mean(amount, item, n_items)
    return _mean((amount - mean[item]).square(), user, n_users).to(torch.float32)


def _diversity(log: Logbook, tags: Tensor, n_users: int) -> Tensor:
    mass = torch.zeros(n_users, tags.shape[1], dtype=torch.float64)
    mass.index_add_(0, log.user, (tags > 0).to(torch.float64)[log.item])
    total = mass.sum(1, keepdim=True)
    share = mass.sort(dim=1, descending=True).values / total
    # Sums of shares come out a hair above what they are on paper.
    held = (share.cumsum(1) <= _MASS + 1e-9).sum(1).to(torch.float32)
    return torch.where(total[:, 0] > 0, held, torch.nan)


def _mean(values: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Mean of each group, NaN for an empty one."""
    total = torch.zeros(n_groups, dtype=values.dtype).index_add_(0, group, values)
    return total / torch.bincount(group, minlength=n_groups)


def _or_nan(counts: Tensor) -> Tensor:
    return torch.where(counts > 0, counts, torch.nan)


def _tier(values: Tensor, ends: tuple[float, float]) -> Tensor:
    known = ~values.isnan()
    if not bool(known.any()):
        return torch.zeros_like(values, dtype=torch.int64)
    exact = values[known].to(torch.float64)
    low, high = torch.quantile(exact, torch.tensor(ends, dtype=torch.float64))
    tier = 1 + (values >= low).to(torch.int64) + (values >= high).to(torch.int64)
    return torch.where(known, tier, 0)
