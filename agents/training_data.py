"""A fold as tensors on a device: what every agent learns from and is evaluated with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.title_words import title_words
from agenticrs.platform.data.dataset import Dataset, Features, Fold, Interactions


@dataclass(frozen=True)
class FeatureTensors:
    """``Features`` as tensors: codes (n, columns) int64, tags (n, tags), numeric (n, columns)."""

    codes: Tensor
    cardinality: tuple[int, ...]
    tags: Tensor
    numeric: Tensor
    """Standardised to zero mean and unit variance."""
    words: Tensor | None = None
    """Of the items' titles, (n, words) int64, -1 pads (``title_words``); None without titles."""


@dataclass(frozen=True)
class EntityShape:
    """How many categories each categorical feature has, and how many dense columns there are."""

    cardinality: tuple[int, ...]
    n_dense: int
    titled: bool = False
    """Whether there are titles whose words can be read."""

    @staticmethod
    def of(features: FeatureTensors) -> EntityShape:
        """The shape of these features."""
        n_dense = features.tags.shape[1] + features.numeric.shape[1]
        return EntityShape(features.cardinality, n_dense, features.words is not None)


@dataclass(frozen=True)
class Events:
    """Every log row, positive or not: for agents that learn from exposures. Shapes (n,)."""

    user: Tensor
    item: Tensor
    label: Tensor
    """1.0 where the row is a positive, else 0.0."""
    timestamp: Tensor
    behaviours: Mapping[str, Tensor] = field(default_factory=dict)
    """What was logged of each row, by name: counts, flags, seconds."""

    def earlier_positives(self) -> Tensor:
        """How many positives the same user had before each row, (n,) int64.

        Rows are in order of user and time.
        """
        before = self.label.cumsum(0) - self.label
        first = torch.ones_like(self.user, dtype=torch.bool)
        first[1:] = self.user[1:] != self.user[:-1]
        group = first.cumsum(0) - 1
        counts: Tensor = before - before[first][group]
        return counts.to(torch.int64)


@dataclass(frozen=True)
class TrainingData:
    """The history part of a fold.

    ``histories`` holds the positives of *all* users (row u = user u), oldest first.
    """

    n_users: int
    n_items: int
    histories: UserBatch
    events: Events
    user_features: FeatureTensors
    item_features: FeatureTensors

    @staticmethod
    def of(dataset: Dataset, device: str = "cpu") -> TrainingData:
        """Move the dataset's interactions (all of them: hold out first) to the device."""
        rows = dataset.interactions
        positive = dataset.is_positive(rows)
        words = title_words(dataset.item_titles, dataset.item_ids)
        return TrainingData(
            n_users=dataset.n_users,
            n_items=dataset.n_items,
            histories=histories(
                rows.take(positive), dataset.n_users, device, timed=dataset.has_times
            ),
            events=Events(
                user=tensor(rows.user, device, torch.int64),
                item=tensor(rows.item, device, torch.int64),
                label=tensor(positive, device, torch.float32),
                timestamp=tensor(rows.timestamp, device, torch.int64),
                behaviours={
                    name: tensor(column, device, torch.float32)
                    for name, column in rows.behaviours.items()
                },
            ),
            user_features=_features(dataset.user_features, dataset.n_users, device),
            item_features=replace(
                _features(dataset.item_features, dataset.n_items, device),
                words=None if words is None else tensor(words, device, torch.int64),
            ),
        )


@dataclass(frozen=True)
class Heldout:
    """The truth of a fold: CSR over its users. ``value`` is what each held-out row was worth."""

    users: Tensor
    offsets: Tensor
    items: Tensor
    value: Tensor

    @staticmethod
    def of(fold: Fold, device: str = "cpu") -> Heldout:
        """The held-out positives by user; repeated (user, item) pairs count once."""
        rows = fold.heldout
        pairs = rows.user.astype(np.int64) * fold.dataset.n_items + rows.item
        _, first = np.unique(pairs, return_index=True)
        rows = rows.take(first)
        users, counts = np.unique(rows.user, return_counts=True)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return Heldout(
            users=tensor(users, device, torch.int64),
            offsets=tensor(offsets, device, torch.int64),
            items=tensor(rows.item, device, torch.int64),
            value=tensor(fold.dataset.value_of(rows), device, torch.float32),
        )

    def take(self, rows: Tensor) -> Heldout:
        """The truth of the users at ``rows`` ((n,) indices)."""
        entries = torch.arange(len(self.items), device=self.items.device)
        chosen = UserBatch(self.users, self.offsets, entries).take(rows)
        return Heldout(
            chosen.users, chosen.offsets, self.items[chosen.items], self.value[chosen.items]
        )


def histories(
    positives: Interactions, n_users: int, device: str = "cpu", *, timed: bool = True
) -> UserBatch:
    """The positives (sorted by user, time) as one batch with row u = user u, for all users.

    Not ``timed``: their timestamps are places in a history, so the batch has no times.
    """
    counts = np.bincount(positives.user, minlength=n_users)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return UserBatch(
        users=torch.arange(n_users, device=device),
        offsets=tensor(offsets, device, torch.int64),
        items=tensor(positives.item, device, torch.int64),
        times=tensor(positives.timestamp, device, torch.int64) if timed else None,
    )


def tensor(array: npt.NDArray[Any], device: str, dtype: torch.dtype) -> Tensor:
    """The array as a tensor of ``dtype``; shares memory where it can."""
    with warnings.catch_warnings():
        # Arrays out of shared memory are read-only, and nothing here writes into them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array)).to(device=device, dtype=dtype)


def _features(features: Features, n: int, device: str) -> FeatureTensors:
    codes = [tensor(column, device, torch.int64) for column in features.categorical.values()]
    tags = [tensor(table, device, torch.float32) for table in features.multi_hot.values()]
    numeric = [tensor(column, device, torch.float32) for column in features.numeric.values()]
    standard = [(column - column.mean()) / (column.std() + 1e-6) for column in numeric]
    none = torch.zeros(n, 0, device=device)
    return FeatureTensors(
        codes=torch.stack(codes, 1) if codes else none.to(torch.int64),
        cardinality=tuple(features.cardinality[name] for name in features.categorical),
        tags=torch.cat(tags, 1) if tags else none,
        numeric=torch.stack(standard, 1) if standard else none,
    )
