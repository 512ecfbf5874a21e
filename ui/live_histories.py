"""What users did since the dataset's snapshot was taken: laid over the histories it holds.

Feedback counts at once: an item that was clicked is part of its user's history with the next
request, long before a cycle folds it into the dataset. Users that the dataset does not know have a
history here alone. Pure memory; ``serving.py`` fills it from the registry.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from agenticrs.agents.batch import UserBatch
from agenticrs.platform.data.dataset import Dataset, IntArray


@dataclass(frozen=True)
class Seen:
    """A user had an item at a time (Unix seconds), and liked it in the dataset's sense."""

    user_id: str
    item_id: str
    timestamp: int


class LiveHistories:
    """Seen items by user id, in the order in which they were told. Safe in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, list[Seen]] = {}
        self._known: set[Seen] = set()

    def add(self, seen: Sequence[Seen]) -> None:
        """Remember; what is remembered already changes nothing."""
        with self._lock:
            for one in seen:
                if one not in self._known:
                    self._known.add(one)
                    self._seen.setdefault(one.user_id, []).append(one)

    def forget(self, held_by: Histories) -> None:
        """Drop what the snapshot holds by now: histories have it from there."""
        with self._lock:
            for user_id, seen in list(self._seen.items()):
                left = held_by.without_held(user_id, seen)
                if left:
                    self._seen[user_id] = left
                else:
                    del self._seen[user_id]
            self._known = {one for seen in self._seen.values() for one in seen}

    def of(self, user_id: str) -> tuple[Seen, ...]:
        """What was told of one user."""
        return tuple(self._seen.get(user_id, ()))


class Histories:
    """The positives of a snapshot by user, as arrays that are sliced per request."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        rows = dataset.interactions
        positives = rows.take(dataset.is_positive(rows))
        counts = np.bincount(positives.user, minlength=dataset.n_users)
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        self._items = positives.item.astype(np.int64)
        self._times = positives.timestamp
        self._user_index = {str(name): i for i, name in enumerate(dataset.user_ids)}
        self._item_index = {str(name): i for i, name in enumerate(dataset.item_ids)}
        self.popularity = torch.from_numpy(
            np.bincount(positives.item, minlength=dataset.n_items).astype(np.float32)
        )

    def user_at(self, user_id: str | None) -> int:
        """Index of the user, -1 for one that the snapshot does not know."""
        return -1 if user_id is None else self._user_index.get(user_id, -1)

    def knows_item(self, item_id: str) -> bool:
        """Whether the item is in the catalogue."""
        return item_id in self._item_index

    def without_held(self, user_id: str, seen: Sequence[Seen]) -> list[Seen]:
        """Those that the snapshot does not hold (yet)."""
        held = self._held(*self._positives(self.user_at(user_id)))
        return [
            one for one in seen if (self._item_index.get(one.item_id), one.timestamp) not in held
        ]

    def batch(self, user_id: str | None, live: LiveHistories, told: Sequence[str]) -> UserBatch:
        """One user with everything known of them (``batch_of``)."""
        return self.batch_of([(user_id, told)], live)

    def batch_of(
        self, asked: Sequence[tuple[str | None, Sequence[str]]], live: LiveHistories
    ) -> UserBatch:
        """Users with everything known of them: the snapshot, live feedback, and what is told.

        Told are ids of items that the caller knows of, oldest first; without a time of their
        own they count as taken together with the newest that has one. Ids that are not in the
        catalogue are left out.
        """
        users: list[int] = []
        items: list[IntArray] = []
        times: list[IntArray] = []
        offsets = [0]
        for user_id, told in asked:
            user = self.user_at(user_id)
            mine, when = self._history(user, user_id, live, told)
            users.append(user)
            items.append(mine)
            times.append(when)
            offsets.append(offsets[-1] + len(mine))
        return UserBatch(
            users=torch.tensor(users),
            offsets=torch.tensor(offsets),
            items=torch.from_numpy(np.concatenate(items)),
            times=torch.from_numpy(np.concatenate(times)) if self.dataset.has_times else None,
        )

    def _history(
        self, user: int, user_id: str | None, live: LiveHistories, told: Sequence[str]
    ) -> tuple[IntArray, IntArray]:
        """Items and times of the user at that index (-1: of the live history alone)."""
        items, times = self._positives(user)
        later = live.of(user_id) if user_id is not None else ()
        if not later and not told:
            return items, times
        more, when = self._later(items, times, later)
        known = {*items.tolist(), *more}
        now = max([*times[-1:].tolist(), *when], default=0)
        for item_id in told:
            index = self._item_index.get(item_id)
            if index is not None and index not in known:
                more.append(index)
                when.append(now)
                known.add(index)
        return (
            np.concatenate([items, np.asarray(more, dtype=np.int64)]),
            np.concatenate([times, np.asarray(when, dtype=np.int64)]),
        )

    def _positives(self, user: int) -> tuple[IntArray, IntArray]:
        """Items and times that the snapshot has of the user at that index (-1: none)."""
        start, stop = (self._offsets[user], self._offsets[user + 1]) if user >= 0 else (0, 0)
        return self._items[start:stop], self._times[start:stop]

    def _held(self, items: IntArray, times: IntArray) -> set[tuple[int, int]]:
        return set(zip(items.tolist(), times.tolist(), strict=True))

    def _later(
        self, items: IntArray, times: IntArray, later: Sequence[Seen]
    ) -> tuple[list[int], list[int]]:
        """Live items that the snapshot does not hold yet (it may have been folded in since).

        Their indices, and their times.
        """
        found: list[int] = []
        when: list[int] = []
        held = self._held(items, times) if later else set()
        for seen in later:
            index = self._item_index.get(seen.item_id)
            if index is not None and (index, seen.timestamp) not in held:
                found.append(index)
                when.append(seen.timestamp)
        return found, when
