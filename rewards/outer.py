"""Outer reward offline: how much of what users went on to value the slate would have shown.

It stands in for a live measurement of watch time or revenue, and is exactly as good as the log:
an item that was never shown to the user counts as worth nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.rewards.ranking import positions


def captured_value(ranked: Tensor, offsets: Tensor, items: Tensor, value: Tensor, k: int) -> Tensor:
    """Discounted held-out value in the first k ranks over the best possible, (U,) in [0, 1].

    sum_j v(item_j) / log2(j + 1) over the same sum for the user's k most valuable held-out items
    in descending order: NDCG with graded gains (Järvelin & Kekäläinen 2002) where the gain is
    business value. ``value`` (T,) belongs to ``items``, >= 0. Where all of a user's held-out
    values are 0, each counts 1: a positive of unknown worth is still a positive, and every
    user stays in paired comparisons. A user without held-out items gets 0.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    n_users = len(offsets) - 1
    lengths = offsets[1:] - offsets[:-1]
    rows = torch.repeat_interleave(torch.arange(n_users, device=items.device), lengths)
    gain = value.to(torch.float64).clamp(min=0.0)
    sums = gain.new_zeros(n_users).index_add_(0, rows, gain)
    gain = torch.where(sums[rows] > 0, gain, 1.0)
    hit, place = positions(ranked[:, :k], offsets, items)
    shown = torch.where(hit, gain[place] if len(gain) else 0.0, 0.0)
    captured = (shown * _discounts(shown.shape[1], gain.device)).sum(1)
    ideal = _ideal(gain, rows, offsets, k)
    return torch.where(ideal > 0, captured / ideal, 0.0)


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
