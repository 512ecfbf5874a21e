"""The best items by inner product, exactly: blocks of the table, never all scores at once."""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.top_k import top_k, top_k_of_pairs

_CELLS_AT_ONCE = 4_000_000
"""Scores in memory at a time: few enough to stay in cache between the passes over them."""
_GROUP = 64
"""Neighbouring scores whose maximum decides whether they are looked at one by one."""


def search(
    queries: Tensor, table: Tensor, k: int, users: UserBatch, bias: Tensor | None = None
) -> Candidates:
    """The k items with the largest queries @ table.T + bias that are not in the users' histories.

    Shapes: ``queries`` (B, d), rows as ``users``, whose histories hold only items of the table;
    ``table`` (n_items, d); ``bias`` (n_items,). Memory does not grow with B times n_items.
    """
    n_items, k = len(table), min(k, len(table))
    if not len(queries):
        return Candidates.empty(0, k, queries.device)
    width = min(n_items, max(k, _GROUP, _CELLS_AT_ONCE // len(queries)))
    seen_items, seen_rows = users.items, users.rows
    first, last = 0, len(seen_items)
    if width < n_items:  # in order of the item, so that a block's part of them is a slice
        order = seen_items.argsort()
        seen_items, seen_rows = seen_items[order], seen_rows[order]
    buffer = queries.new_empty(len(queries), width)  # fresh memory costs more than the product
    best = _Best(len(queries), k)
    for start in range(0, n_items, width):
        stop = min(start + width, n_items)
        scores = buffer[:, : stop - start]
        torch.mm(queries, table[start:stop].T, out=scores)
        if bias is not None:
            scores += bias[start:stop]
        if width < n_items:
            ends = seen_items.new_tensor([start, stop])
            first, last = torch.searchsorted(seen_items, ends).tolist()
        scores[seen_rows[first:last], seen_items[first:last] - start] = -torch.inf
        best.see(scores, start)
    return best.candidates()


class _Best:
    """The best so far, and entries that may be among them: merged when there are many."""

    def __init__(self, batch: int, k: int) -> None:
        self._batch, self._k = batch, k
        self._values: Tensor | None = None
        self._items: Tensor | None = None
        self._new: list[tuple[Tensor, Tensor, Tensor]] = []
        self._waiting = 0

    def see(self, scores: Tensor, start: int) -> None:
        """Take in the scores (B, n) of the items from ``start`` on."""
        if self._values is None or self._items is None:
            self._values, places = top_k(scores, self._k)
            self._items = places + start
            return
        least = self._values[:, -1:]
        whole = scores.shape[1] // _GROUP * _GROUP
        groups = scores[:, :whole].view(self._batch, -1, _GROUP)
        row, group = (groups.amax(2) > least).nonzero(as_tuple=True)
        entries = groups[row, group]
        hit, column = (entries > least[row]).nonzero(as_tuple=True)
        self._add(row[hit], start + group[hit] * _GROUP + column, entries[hit, column])
        rest = scores[:, whole:]
        row, column = (rest > least).nonzero(as_tuple=True)
        self._add(row, start + whole + column, rest[row, column])
        if self._waiting > self._batch * self._k:
            self._merge()

    def candidates(self) -> Candidates:
        """The best of everything that was seen."""
        self._merge()
        if self._values is None or self._items is None:
            raise ValueError("nothing was searched")
        hidden = self._values == -torch.inf
        return Candidates(self._items.masked_fill(hidden, -1), self._values)

    def _add(self, rows: Tensor, items: Tensor, values: Tensor) -> None:
        if len(rows):
            self._new.append((rows, items, values))
            self._waiting += len(rows)

    def _merge(self) -> None:
        if not self._new or self._values is None or self._items is None:
            return
        device = self._values.device
        known = torch.arange(self._batch, device=device).repeat_interleave(self._k)
        rows, items, values = zip(*self._new, strict=True)
        self._values, self._items = top_k_of_pairs(
            torch.cat([known, *rows]),
            torch.cat([self._items.flatten(), *items]),
            torch.cat([self._values.flatten(), *values]),
            self._batch,
            self._k,
            empty=-torch.inf,
        )
        self._new, self._waiting = [], 0
