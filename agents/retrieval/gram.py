"""Co-occurrence of items: G = X^T X over binary user histories, in blocks of rows.

Two ways to the same counts: short histories are expanded into pairs, long ones multiplied as
dense blocks of users. Both need no loop over users or items.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch

_PAIRS_AT_ONCE = 8_000_000
_DENSE_CELLS_AT_ONCE = 16_000_000
_ROWS_CELLS_AT_ONCE = 32_000_000
_MULTIPLICATIONS_PER_PAIR = 500
"""A scattered pair costs about as much time as this many multiplications inside a GEMM."""


def binary_pairs(histories: UserBatch, n_items: int) -> UserBatch:
    """The histories with repeated items dropped (and so no longer in order of time)."""
    keys = torch.unique(histories.rows * n_items + histories.items)
    rows, items = keys // n_items, keys % n_items
    offsets = torch.zeros(len(histories) + 1, dtype=torch.int64, device=items.device)
    torch.cumsum(torch.bincount(rows, minlength=len(histories)), 0, out=offsets[1:])
    return UserBatch(histories.users, offsets, items)


def gram(distinct: UserBatch, n_items: int) -> Tensor:
    """All of G, (n_items, n_items) float32: beside it only some rows are held while counting."""
    found = torch.empty(n_items, n_items, device=distinct.items.device)
    rows_at_once = max(1, _ROWS_CELLS_AT_ONCE // n_items)
    for start in range(0, n_items, rows_at_once):
        stop = min(start + rows_at_once, n_items)
        found[start:stop] = gram_rows(distinct, n_items, start, stop)
    return found


def gram_rows(distinct: UserBatch, n_items: int, start: int, stop: int) -> Tensor:
    """Rows [start, stop) of G for histories without repeats, (stop - start, n_items) float32.

    G[i, j] is the number of users that have both i and j; the diagonal counts users.
    """
    chosen = (distinct.items >= start) & (distinct.items < stop)
    pairs = int(distinct.lengths[distinct.rows[chosen]].sum())
    if pairs * _MULTIPLICATIONS_PER_PAIR < len(distinct) * (stop - start) * n_items:
        return _by_pairs(distinct, chosen, n_items, start, stop)
    return _by_dense_blocks(distinct, n_items, start, stop)


def _by_pairs(distinct: UserBatch, chosen: Tensor, n_items: int, start: int, stop: int) -> Tensor:
    left = chosen.nonzero()[:, 0]
    row = distinct.rows[left]
    lengths, begin = distinct.lengths[row], distinct.offsets[:-1][row]
    counts = torch.zeros((stop - start) * n_items, device=left.device)
    ends = lengths.cumsum(0)
    first = 0
    while first < len(left):
        done = int(ends[first - 1]) if first else 0
        last = int(torch.searchsorted(ends, done + _PAIRS_AT_ONCE, right=True))
        last = min(max(last, first + 1), len(left))
        anchor = torch.repeat_interleave(
            torch.arange(first, last, device=left.device), lengths[first:last]
        )
        within = torch.arange(len(anchor), device=left.device) - (ends - lengths)[anchor] + done
        partner = distinct.items[begin[anchor] + within]
        cell = (distinct.items[left[anchor]] - start) * n_items + partner
        counts += torch.bincount(cell, minlength=len(counts))
        first = last
    return counts.view(stop - start, n_items)


def _by_dense_blocks(distinct: UserBatch, n_items: int, start: int, stop: int) -> Tensor:
    gram = torch.zeros(stop - start, n_items, device=distinct.items.device)
    users_at_once = max(1, _DENSE_CELLS_AT_ONCE // n_items)
    for first in range(0, len(distinct), users_at_once):
        last = min(first + users_at_once, len(distinct))
        batch = distinct.take(torch.arange(first, last, device=distinct.items.device))
        dense = torch.zeros(len(batch), n_items, device=batch.items.device)
        dense[batch.rows, batch.items] = 1.0
        gram.addmm_(dense[:, start:stop].T, dense)
    return gram
