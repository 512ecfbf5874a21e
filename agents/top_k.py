"""The k largest of long rows, exactly, faster than sorting through all of them."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_LEFT = 0.5
"""Groups pay when less than this share of the row is left to be searched one by one."""
_FEW = 16_384
"""Scores below which looking through all of them costs less than the calls that groups take."""


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and indices (B, k) of the largest entries of each row of (B, n), in order.

    The row is cut into groups: the k largest entries lie in the k groups with the largest maxima,
    so one pass finds the maxima, and only k groups are looked into. Which of several equal entries
    are found is not defined.
    """
    batch, n = scores.shape
    k = min(k, n)
    size = round((n / max(k, 1)) ** 0.5)
    groups = n // max(size, 1)
    few = batch * n < _FEW
    if few or size < 2 or groups <= k or groups + k * size > n * _MOST_LEFT:
        found = scores.topk(k, dim=1)
        return found.values, found.indices
    whole = groups * size
    # A group is every so manieth entry: maxima of long stretches at once, twice as fast or more.
    maxima = scores[:, :whole].view(batch, size, groups).amax(1)
    best = maxima.topk(k, dim=1, sorted=False).indices
    place = (best[:, :, None] + torch.arange(0, whole, groups, device=scores.device)).flatten(1)
    if whole < n:  # what is left over after the last whole group is looked at in any case
        rest = torch.arange(whole, n, device=scores.device).expand(batch, -1)
        place = torch.cat([place, rest], 1)
    inside = scores.gather(1, place).topk(k, dim=1)
    return inside.values, place.gather(1, inside.indices)


def top_k_of_pairs(
    rows: Tensor, columns: Tensor, values: Tensor, n_rows: int, k: int, empty: float
) -> tuple[Tensor, Tensor]:
    """The k largest values of each row out of (row, column, value) triples, each (P,).

    Returns values and columns (n_rows, k) in order; ``empty`` and column 0 where a row has fewer.
    """
    order = torch.argsort(values, descending=True, stable=True)
    order = order[torch.argsort(rows[order], stable=True)]
    row = rows[order]
    begin = torch.zeros(n_rows + 1, dtype=torch.int64, device=row.device)
    torch.cumsum(torch.bincount(row, minlength=n_rows), 0, out=begin[1:])
    rank = torch.arange(len(row), device=row.device) - begin[row]
    kept = rank < k
    best = torch.full((n_rows, k), empty, dtype=values.dtype, device=row.device)
    found = torch.zeros(n_rows, k, dtype=torch.int64, device=row.device)
    best[row[kept], rank[kept]] = values[order][kept]
    found[row[kept], rank[kept]] = columns[order][kept]
    return best, found
