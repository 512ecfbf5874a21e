"""Where the shown items come from: whose lists held them.

``shown`` is (U, K) int64, -1 pads, cut to the slate that people see; ``lists`` are those of the
sources for the same users, (U, K_s) each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def held_by(shown: Tensor, lists: Sequence[Tensor]) -> Tensor:
    """Which sources had each shown item in their list for that user, (S, U, K) bool."""
    found = torch.zeros((len(lists), *shown.shape), dtype=torch.bool, device=shown.device)
    if not shown.numel():
        return found
    size = 1 + max([int(shown.max()), *(int(one.max()) for one in lists if one.numel())])
    rows = torch.arange(len(shown), device=shown.device)[:, None] * size
    for place, one in enumerate(lists):
        held = (rows + one)[one >= 0]
        found[place] = torch.isin(rows + shown, held) & (shown >= 0)
    return found


def explained(shown: Tensor, lists: Sequence[Tensor]) -> float:
    """Share of the shown items that at least one source had in its list, in [0, 1]; 0 of none."""
    total = int((shown >= 0).sum())
    return int(held_by(shown, lists).any(0).sum()) / total if total else 0.0


def source_shares(shown: Tensor, lists: Sequence[Tensor]) -> Tensor:
    """Each source's share of what is shown, (S,) float64; they sum to the share explained.

    An item that several sources had counts for each of them in equal parts.
    """
    total = max(1, int((shown >= 0).sum()))
    held = held_by(shown, lists).to(torch.float64)
    return (held / held.sum(0).clamp(min=1)).sum((1, 2)) / total
