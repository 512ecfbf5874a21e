"""A small piece of a fold to try candidates on: some users, the items they share, new numbers.

Checks cost the same however large the log is. The piece holds back nothing real: its held-out rows
are *decoys*, one unseen item for each user, drawn at random, so that nobody who plays fair can
guess them better than chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from agenticrs.platform.data.dataset import Dataset, Features, Fold, Interactions
from agenticrs.platform.errors import DataError

N_USERS, N_ITEMS, LONGEST = 48, 96, 24
_NEW_ITEMS = 4
"""Items in the sample that are the least known of all: often nobody has taken them."""
_LONG_ENOUGH = 5
NumberT = TypeVar("NumberT", bound=np.generic)


def sample_of(fold: Fold, seed: int = 0) -> Fold:
    """At most 48 users with at most 24 rows each over at most 96 items, and decoys held out.

    Every pair of user and item stands in it once. Raises DataError when no user has two positives.
    """
    rng = np.random.default_rng(seed)
    dataset = fold.dataset
    items = _items(dataset)
    rows = dataset.interactions
    rows = rows.take(np.isin(rows.item, items))
    rows = rows.take(_first_of_pair(dataset, rows))
    users = _users(dataset, rows, rng)
    rows = rows.take(np.isin(rows.user, users))
    rows = rows.take(_newest(rows))
    small = replace(
        dataset,
        fingerprint=f"sample of {dataset.fingerprint}",
        interactions=replace(
            rows,
            user=np.searchsorted(users, rows.user).astype(np.int32),
            item=np.searchsorted(items, rows.item).astype(np.int32),
        ),
        user_ids=dataset.user_ids[users],
        item_ids=dataset.item_ids[items],
        item_titles=dataset.item_titles[items],
        user_features=_of(dataset.user_features, users),
        item_features=_of(dataset.item_features, items),
    )
    return replace(fold, dataset=small, heldout=_decoys(small, rng))


def _items(dataset: Dataset) -> npt.NDArray[np.int64]:
    """The best known items and a few of the least known, ascending."""
    rows = dataset.interactions
    counts = np.bincount(rows.item[dataset.is_positive(rows)], minlength=dataset.n_items)
    order = np.argsort(-counts, kind="stable")
    if len(order) > N_ITEMS:
        order = np.concatenate([order[: N_ITEMS - _NEW_ITEMS], order[-_NEW_ITEMS:]])
    return np.sort(order)


def _users(dataset: Dataset, rows: Interactions, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Users with several positives, drawn at random; others only where those are too few."""
    counts = np.bincount(rows.user[dataset.is_positive(rows)], minlength=dataset.n_users)
    able = np.flatnonzero(counts >= 2)
    if not len(able):
        raise DataError(
            f"dataset {dataset.name!r}: nobody has two positives", hint="import more data"
        )
    rank = np.minimum(counts[able], _LONG_ENOUGH) + rng.random(len(able))
    return np.sort(able[np.argsort(-rank)[:N_USERS]])


def _first_of_pair(dataset: Dataset, rows: Interactions) -> npt.NDArray[np.int64]:
    """Rows in which a pair stands for the first time; its first positive row if there is one."""
    pair = rows.user.astype(np.int64) * dataset.n_items + rows.item
    order = np.lexsort((~dataset.is_positive(rows), pair))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = pair[order][1:] != pair[order][:-1]
    return np.sort(order[first])


def _newest(rows: Interactions) -> npt.NDArray[np.bool_]:
    """Rows that are among the newest of their users."""
    _, counts = np.unique(rows.user, return_counts=True)
    left = np.repeat(np.cumsum(counts), counts) - np.arange(len(rows))
    mask: npt.NDArray[np.bool_] = left <= LONGEST
    return mask


def _of(features: Features, index: npt.NDArray[np.int64]) -> Features:
    return Features(
        categorical=_rows(features.categorical, index),
        cardinality=features.cardinality,
        multi_hot=_rows(features.multi_hot, index),
        numeric=_rows(features.numeric, index),
    )


def _rows(
    columns: Mapping[str, npt.NDArray[NumberT]], index: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[NumberT]]:
    return {name: column[index] for name, column in columns.items()}


def _decoys(dataset: Dataset, rng: np.random.Generator) -> Interactions:
    """One unseen item for each user that has one left, as a positive after everything else."""
    rows = dataset.interactions
    chance = rng.random((dataset.n_users, dataset.n_items))
    chance[rows.user, rows.item] = -1.0
    users = np.flatnonzero(chance.max(1) >= 0)
    behaviours = {name: np.zeros(len(users), np.float32) for name in rows.behaviours}
    positive = dataset.positive
    behaviours[positive.behaviour] += np.float32(max(positive.minimum, 1.0))
    return Interactions(
        user=users.astype(np.int32),
        item=chance[users].argmax(1).astype(np.int32),
        timestamp=np.full(len(users), rows.timestamp.max(initial=0) + 1, np.int64),
        behaviours=behaviours,
        context={name: np.zeros(len(users), np.int32) for name in rows.context},
    )
