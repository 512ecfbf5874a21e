"""A small fold made by hand: two tastes, tags that tell them apart, one or two rows held out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agenticrs.platform.data.dataset import Dataset, Features, Fold, Interactions, Positive

N_USERS, N_ITEMS = 60, 40


def small_fold(*, value: bool = True, tags: bool = True) -> Fold:
    """60 users, 40 items; every fifth user has nothing held out; user 59 has no history."""
    rng = np.random.default_rng(11)
    history: list[tuple[int, int, int]] = []
    heldout: list[tuple[int, int, int]] = []
    popular = 1.0 / np.arange(1, 21)
    for user in range(N_USERS):
        own = 20 * (user % 2)
        liked = own + rng.choice(20, rng.integers(5, 14), replace=False, p=popular / popular.sum())
        n_heldout = 0 if user % 5 == 0 else 1 + user % 2
        rows = [(user, int(item), 1000 + place) for place, item in enumerate(liked)]
        if user != N_USERS - 1:
            history += rows[: len(rows) - n_heldout]
        heldout += rows[len(rows) - n_heldout :]
    topics = np.zeros((N_ITEMS, 4), np.float32)
    topics[np.arange(N_ITEMS), np.arange(N_ITEMS) // 20] = 1
    topics[np.arange(N_ITEMS), 2 + np.arange(N_ITEMS) % 2] = 1
    dataset = Dataset(
        name="small",
        fingerprint="f0",
        interactions=_rows(history),
        user_ids=np.arange(N_USERS).astype(np.str_),
        item_ids=np.arange(N_ITEMS).astype(np.str_),
        item_titles=np.arange(N_ITEMS).astype(np.str_),
        user_features=Features(),
        item_features=Features(multi_hot={"topic": topics}) if tags else Features(),
        positive=Positive("click", 1.0),
        value="watch_time" if value else None,
    )
    return Fold(dataset, _rows(heldout), "leave_one_out", "valid")


def _rows(rows: list[tuple[int, int, int]]) -> Interactions:
    table = np.array(rows, np.int64)
    return Interactions(
        user=table[:, 0].astype(np.int32),
        item=table[:, 1].astype(np.int32),
        timestamp=table[:, 2],
        behaviours={
            "click": np.ones(len(table), np.float32),
            "watch_time": (10.0 + table[:, 1] % 7).astype(np.float32),
        },
    )


@pytest.fixture
def make_fold() -> Callable[..., Fold]:
    """A function that makes the fold, with or without business values and tags."""
    return small_fold


@pytest.fixture
def fold() -> Fold:
    """The fold with business values and tags."""
    return small_fold()
