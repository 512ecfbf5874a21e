"""What travels between agents: batches of users, lists of candidates, routes.

All tensors of one batch live on one device. Item index -1 pads; its score is -inf.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class UserBatch:
    """Users with their positive history, oldest first, as one flat array.

    Shapes: ``users`` (B,) int64 with -1 for a user that no training has seen; ``offsets`` (B + 1,)
    int64; ``items`` (offsets[-1],) int64: user b's history is items[offsets[b]:offsets[b + 1]].
    ``times``, of the shape of ``items``, are Unix seconds; None where they are not known.
    """

    users: Tensor
    offsets: Tensor
    items: Tensor
    times: Tensor | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def lengths(self) -> Tensor:
        """History length of each user, (B,) int64."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def rows(self) -> Tensor:
        """For each entry of ``items`` the row of its user in the batch, (len(items),) int64."""
        return torch.repeat_interleave(
            torch.arange(len(self), device=self.users.device), self.lengths
        )

    def recent(self, length: int) -> Tensor:
        """The last ``length`` items, right-aligned, -1 on the left, (B, length) int64."""
        place = self.offsets[1:, None] - length + torch.arange(length, device=self.users.device)
        valid = place >= self.offsets[:-1, None]
        if not len(self.items):
            return torch.full_like(place, -1)
        return torch.where(valid, self.items[place.clamp(min=0)], -1)

    def newest(self, length: int) -> tuple[Tensor, Tensor]:
        """The last ``length`` items, left-aligned, -1 behind them, and how many they are.

        Shapes (B, T) and (B,), with T the largest of them, at least 1.
        """
        entry, inside = self._newest(length)
        lengths = inside.sum(1)
        if not len(self.items):
            return torch.full_like(entry, -1), lengths
        return torch.where(inside, self.items[entry], -1), lengths

    def newest_times(self, length: int) -> Tensor | None:
        """The times of those items, of the same shape; 0 behind them."""
        if self.times is None:
            return None
        entry, inside = self._newest(length)
        if not len(self.items):
            return torch.zeros_like(entry)
        return torch.where(inside, self.times[entry], 0)

    def _newest(self, length: int) -> tuple[Tensor, Tensor]:
        """Entries of the last ``length`` items, and which of them are real, (B, T)."""
        lengths = self.lengths.clamp(max=length)
        width = max(1, int(lengths.max()) if len(self) else 1)
        place = torch.arange(width, device=self.users.device)
        entry = (self.offsets[1:] - lengths)[:, None] + place
        return entry.clamp(0, max(0, len(self.items) - 1)), place < lengths[:, None]

    def without_newest(self) -> UserBatch:
        """The same users before their newest item."""
        if not len(self.items):
            return self
        keep = torch.ones_like(self.items, dtype=torch.bool)
        keep[(self.offsets[1:] - 1)[self.lengths > 0]] = False
        return self.only(keep)

    def only(self, keep: Tensor) -> UserBatch:
        """The same users with the entries for which ``keep`` (len(items),) is true."""
        kept = torch.zeros(len(self.items) + 1, dtype=torch.int64, device=self.users.device)
        torch.cumsum(keep, 0, out=kept[1:])
        times = None if self.times is None else self.times[keep]
        return UserBatch(self.users, kept[self.offsets], self.items[keep], times)

    def take(self, rows: Tensor) -> UserBatch:
        """The users at ``rows`` ((n,) indices), with their histories."""
        lengths = self.lengths[rows]
        offsets = torch.zeros(len(rows) + 1, dtype=torch.int64, device=self.users.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        start = torch.repeat_interleave(self.offsets[:-1][rows] - offsets[:-1], lengths)
        place = torch.arange(len(start), device=self.users.device) + start
        times = None if self.times is None else self.times[place]
        return UserBatch(self.users[rows], offsets, self.items[place], times)

    def within(self, n_users: int, n_items: int) -> UserBatch:
        """The same users as a model of that size knows them: newer users and items drop out."""
        users = torch.where(self.users < n_users, self.users, -1)
        keep = self.items < n_items
        return replace(self if bool(keep.all()) else self.only(keep), users=users)


@dataclass(frozen=True)
class Candidates:
    """Lists of items in descending order of score: ``items`` (B, K) int64, ``scores`` (B, K)."""

    items: Tensor
    scores: Tensor

    def top(self, k: int) -> Candidates:
        """The first ``k`` columns (all of them when there are fewer)."""
        return Candidates(self.items[:, :k], self.scores[:, :k])

    @staticmethod
    def empty(n_users: int, k: int, device: torch.device | str = "cpu") -> Candidates:
        """Nothing for anybody: items -1, scores -inf, (n_users, k)."""
        return Candidates(
            torch.full((n_users, k), -1, dtype=torch.int64, device=device),
            torch.full((n_users, k), -torch.inf, device=device),
        )


@dataclass(frozen=True)
class Route:
    """The segment of each user, (B,) int64 codes in the order of the router's ``segments``."""

    segment: Tensor
