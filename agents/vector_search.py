"""The best items by inner product, exactly: blocks of the table, never all scores at once."""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.top_k import top_k

_CELLS_AT_ONCE = 32_000_000
"""Scores in memory at a time, 128 MB: a block's scores are searched before the next is computed."""


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
    # In order of the item, so that a block's part of the histories is a slice.
    order = users.items.argsort()
    seen_items, seen_rows = users.items[order], users.rows[order]
    at_once = max(k, _CELLS_AT_ONCE // len(queries))
    parts: list[Candidates] = []
    for start in range(0, n_items, at_once):
        stop = min(start + at_once, n_items)
        scores = queries @ table[start:stop].T
        if bias is not None:
            scores += bias[start:stop]
        first, last = torch.searchsorted(seen_items, torch.tensor([start, stop])).tolist()
        scores[seen_rows[first:last], seen_items[first:last] - start] = -torch.inf
        values, places = top_k(scores, k)
        parts.append(Candidates((places + start).masked_fill(values == -torch.inf, -1), values))
    if len(parts) == 1:
        return parts[0]
    items = torch.cat([part.items for part in parts], 1)
    best = torch.cat([part.scores for part in parts], 1).topk(k, dim=1)
    return Candidates(items.gather(1, best.indices), best.values)
