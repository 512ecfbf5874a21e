"""Outer reward offline: how much of what users went on to value the slate would have shown.

It stands in for a live measurement of watch time or revenue, and is exactly as good as the log:
an item that was never shown to the user counts as worth nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.rewards.ranking import positions


def captured_value(ranked: Tensor, offsets: Tensor, items: Tensor, value: Tensor, k: int) -> Tensor:
    """Discounted held-out value in the first k ranks, (U,), so that the mean is a share in [0, 1].

    User u gets sum_j v(item_j) / log2(j + 1), divided by the *mean over users* of the best possible
    sum (the k most valuable held-out items in descending order). The mean is therefore what the
    slates captured of all the value that was there: NDCG with graded gains (Järvelin & Kekäläinen
    2002), where a user counts by how much value there was to win. ``value`` (T,) belongs to
    ``items``, >= 0. Where nobody's held-out items have value, each counts 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    n_users = len(offsets) - 1
    lengths = offsets[1:] - offsets[:-1]
    rows = torch.repeat_interleave(torch.arange(n_users, device=items.device), lengths)
    gain = value.to(torch.float64).clamp(min=0.0)
    if not bool((gain > 0).any()):
        gain = torch.ones_like(gain)
    hit, place = positions(ranked[:, :k], offsets, items)
    shown = torch.where(hit, gain[place] if len(gain) else 0.0, 0.0)
    captured = (shown * _discounts(shown.shape[1], gain.device)).sum(1)
    if not len(gain):
        return captured
    return captured / _ideal(gain, rows, offsets, k).mean()


def _ideal(gain: Tensor, rows: Tensor, offsets: Tensor, k: int) -> Tensor:
    """Discounted sum of each user's k largest gains, (U,)."""
    order = gain.argsort(descending=True, stable=True)
    order = order[rows[order].argsort(stable=True)]
    rank = torch.arange(len(gain), device=gain.device) - offsets[:-1][rows]
    top = rank < k
    best = gain[order][top] * _discounts(k, gain.device)[rank[top]]
    return gain.new_zeros(len(offsets) - 1).index_add_(0, rows[top], best)


def _discounts(k: int, device: torch.device) -> Tensor:
    return 1 / torch.log2(torch.arange(2, k + 2, device=device, dtype=torch.float64))
