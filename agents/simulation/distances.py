"""How far two samples are from each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def shares(codes: Tensor, n: int) -> Tensor:
    """Share of each code 0 ... n - 1, (n,) float64; even shares where there is nothing.

    Codes below 0 do not count.
    """
    counts = torch.bincount(codes[codes >= 0], minlength=n).to(torch.float64)
    total = float(counts.sum())
    return counts / total if total else torch.full((n,), 1 / n, dtype=torch.float64)


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon distance of two distributions (n,), in [0, 1] (Endres & Schindelin 2003).

    The root of the divergence with base 2: 0 for the same, 1 where they have nothing in common.
    """
    middle = (p + q) / 2
    divergence = (_kullback_leibler(p, middle) + _kullback_leibler(q, middle)) / 2
    return math.sqrt(min(1.0, max(0.0, divergence)))


def kullback_leibler(p: Tensor, q: Tensor, smooth: float = 1e-4) -> float:
    """KL(p || q) in bits, each mixed with ``smooth`` of the even distribution: always finite."""
    even = smooth / len(p)
    return max(0.0, _kullback_leibler(p * (1 - smooth) + even, q * (1 - smooth) + even))


def wasserstein(a: Tensor, b: Tensor) -> float:
    """Mean distance by which values of ``a`` must move to be those of ``b``, both (n,) or longer.

    Taken over 1,000 evenly spaced quantiles, so that samples may differ in size. 0 when either is
    empty.
    """
    if not len(a) or not len(b):
        return 0.0
    at = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    return float((_quantiles(a, at) - _quantiles(b, at)).abs().mean())


def _quantiles(values: Tensor, at: Tensor) -> Tensor:
    ordered = values.to(torch.float64).sort().values
    return ordered[(at * len(ordered)).to(torch.int64).clamp(max=len(ordered) - 1)]


def _kullback_leibler(p: Tensor, q: Tensor) -> float:
    inside = p > 0
    return float((p[inside] * (p[inside] / q[inside]).log2()).sum())
