"""Histories that grow while users act, handed to recommenders as the batches that they know."""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch

_DAY = 86_400


class GrowingHistories:
    """What each of N users took: before the simulation, and since."""

    def __init__(self, begin: UserBatch) -> None:
        self._begin = begin
        self._counts = torch.zeros(len(begin), dtype=torch.int64)
        self._items = torch.zeros(len(begin), 4, dtype=torch.int64)
        self._days = torch.zeros(len(begin), 4, dtype=torch.int64)
        known = begin.times is not None and len(begin.times)
        self._clock = int(begin.times.max()) if begin.times is not None and known else 0

    def add(self, rows: Tensor, items: Tensor, taken: Tensor, day: int) -> None:
        """Append items (n, k) where ``taken`` (n, k), in order, to the users at ``rows`` (n,)."""
        place = self._counts[rows][:, None] + taken.cumsum(1) - 1
        most = int(place.max()) + 1 if place.numel() else 0
        while most > self._items.shape[1]:
            self._items = torch.cat([self._items, torch.zeros_like(self._items)], 1)
            self._days = torch.cat([self._days, torch.zeros_like(self._days)], 1)
        user = rows[:, None].expand_as(items)[taken]
        self._items[user, place[taken]] = items[taken]
        self._days[user, place[taken]] = day
        self._counts[rows] += taken.sum(1)

    def batch(self, rows: Tensor) -> UserBatch:
        """The users at ``rows`` as they are now."""
        before = self._begin.take(rows)
        lengths, added = before.lengths, self._counts[rows]
        offsets = torch.zeros(len(rows) + 1, dtype=torch.int64)
        torch.cumsum(lengths + added, 0, out=offsets[1:])
        items = torch.empty(int(offsets[-1]), dtype=torch.int64)
        old = torch.ones(len(items), dtype=torch.bool)
        start = offsets[:-1] + lengths
        inside = torch.arange(int(added.max()) if len(rows) else 0) < added[:, None]
        place = (start[:, None] + torch.arange(inside.shape[1]))[inside]
        old[place] = False
        items[old] = before.items
        items[place] = self._items[rows, : inside.shape[1]][inside]
        times = None
        if before.times is not None:
            times = torch.empty_like(items)
            times[old] = before.times
            days = self._days[rows, : inside.shape[1]][inside]
            times[place] = self._clock + (days + 1) * _DAY
        return UserBatch(before.users, offsets, items, times)
