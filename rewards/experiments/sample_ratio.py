"""Did each arm get the users it should have? If not, whatever is compared is not comparable.

A mismatch is no bad luck but a defect: a redirect that loses users, a bot in one arm, a crash
before the log is written (Fabijan et al. 2019, Diagnosing sample ratio mismatch).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

STRENGTH = 10_000.0
"""How many users' worth of belief the alternatives are spread around the shares with."""


def chi_square_p(counts: Sequence[int], shares: Sequence[float]) -> float:
    """p-value of these counts under these shares, once at a time that was set before.

    Pearson's chi-square with one degree of freedom less than arms. For looking every day use
    ``log_evidence``.
    """
    _check(counts, shares)
    total = sum(counts)
    expected = [total * share for share in shares]
    statistic = sum((seen - want) ** 2 / want for seen, want in zip(counts, expected, strict=True))
    half = torch.tensor([(len(counts) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def log_evidence(
    counts: Sequence[int], shares: Sequence[float], strength: float = STRENGTH
) -> float:
    """How much likelier the counts are under other shares, mixed, than under these: its log.

    The Bayes factor of a Dirichlet(strength * shares) mixture of multinomials, which starts at 1.
    Its log *ever* exceeds -log(alpha) with probability at most alpha when the shares are true
    (Lindon & Malek 2022, Anytime-valid inference for multinomial count data). Evidence of separate
    counts adds up.
    """
    _check(counts, shares)
    total = sum(counts)
    found = math.lgamma(strength) - math.lgamma(strength + total)
    for seen, share in zip(counts, shares, strict=True):
        prior = strength * share
        found += math.lgamma(prior + seen) - math.lgamma(prior) - seen * math.log(share)
    return found


def _check(counts: Sequence[int], shares: Sequence[float]) -> None:
    if len(counts) != len(shares) or len(counts) < 2 or min(counts) < 0 or sum(counts) == 0:
        raise ValueError(f"need a count for each of at least two arms, got {list(counts)}")
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares must be positive and sum to 1, got {list(shares)}")
