from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.platform.data.dataset import Dataset, Features, Interactions, Positive
from agenticrs.platform.data.splits import Part, Split, make_fold, parse_split, sample_of
from agenticrs.platform.errors import DataError

SPLITS = ("leave_one_out", "temporal:valid=0.2,test=0.2", "random", "random:seed=3,test=0.4")


def dataset_of(rows: list[tuple[int, int, int, int]], *, has_times: bool = True) -> Dataset:
    """A dataset of (user, item, timestamp, click) rows, sorted by user and time."""
    rows = sorted(rows, key=lambda row: (row[0], row[2]))
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    n_users, n_items = int(table[:, 0].max()) + 1, int(table[:, 1].max()) + 1
    return Dataset(
        name="small",
        fingerprint="0" * 16,
        interactions=Interactions(
            user=table[:, 0].astype(np.int32),
            item=table[:, 1].astype(np.int32),
            timestamp=table[:, 2],
            behaviours={
                "click": table[:, 3].astype(np.float32),
                # A number of its own for every row, so that rows can be told apart.
                "watch_time": np.arange(len(table), dtype=np.float32),
            },
        ),
        user_ids=np.array([f"u{n}" for n in range(n_users)]),
        item_ids=np.array([f"i{n}" for n in range(n_items)]),
        item_titles=np.array([f"i{n}" for n in range(n_items)]),
        user_features=Features(),
        item_features=Features(),
        positive=Positive("click", 1.0),
        has_times=has_times,
    )


def logs() -> st.SearchStrategy[Dataset]:
    row = st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 50), st.integers(0, 1))
    return st.lists(row, min_size=1, max_size=120).map(dataset_of)


def numbers(rows: Interactions) -> set[int]:
    return {int(number) for number in rows.behaviours["watch_time"]}


def pairs(rows: Interactions) -> set[tuple[int, int]]:
    return {(int(user), int(item)) for user, item in zip(rows.user, rows.item, strict=True)}


@given(logs(), st.sampled_from(SPLITS), st.sampled_from(["valid", "test"]))
def test_history_and_heldout_rows_never_meet(dataset: Dataset, split: str, part: Part) -> None:
    try:
        fold = make_fold(dataset, split, part)
    except DataError:
        return  # too small to hold anything out
    history = fold.dataset.interactions
    assert not numbers(history) & numbers(fold.heldout)
    assert numbers(history) | numbers(fold.heldout) <= numbers(dataset.interactions)
    assert dataset.is_positive(fold.heldout).all()
    positives = history.take(dataset.is_positive(history))
    assert not pairs(positives) & pairs(fold.heldout)
    assert len(pairs(fold.heldout)) == len(fold.heldout)
    assert (np.diff(fold.heldout.user) >= 0).all()
    again = make_fold(dataset, split, part)
    assert numbers(again.heldout) == numbers(fold.heldout)
    assert numbers(again.dataset.interactions) == numbers(history)


@given(logs(), st.sampled_from(SPLITS))
def test_validation_and_test_are_disjoint_and_histories_grow(dataset: Dataset, split: str) -> None:
    try:
        valid, test = make_fold(dataset, split, "valid"), make_fold(dataset, split, "test")
    except DataError:
        return
    assert not pairs(valid.heldout) & pairs(test.heldout)
    assert numbers(valid.dataset.interactions) <= numbers(test.dataset.interactions)
    assert numbers(valid.heldout) <= numbers(test.dataset.interactions)
    assert not numbers(valid.dataset.interactions) & numbers(test.heldout)


@given(logs())
def test_leave_one_out_agrees_with_a_plain_loop(dataset: Dataset) -> None:
    rows = dataset.interactions
    firsts: dict[int, list[int]] = defaultdict(list)
    seen = set()
    for place in range(len(rows)):
        pair = (int(rows.user[place]), int(rows.item[place]))
        if rows.behaviours["click"][place] >= 1 and pair not in seen:
            seen.add(pair)
            firsts[pair[0]].append(place)
    held = {user: places for user, places in firsts.items() if len(places) >= 3}
    for part, back in (("valid", 2), ("test", 1)):
        if not held:
            with pytest.raises(DataError, match="nothing to hold out"):
                make_fold(dataset, "leave_one_out", "test")
            return
        fold = make_fold(dataset, "leave_one_out", "valid" if part == "valid" else "test")
        assert numbers(fold.heldout) == {places[-back] for places in held.values()}
        expected = {
            place
            for place in range(len(rows))
            if int(rows.user[place]) not in held or place < held[int(rows.user[place])][-back]
        }
        assert numbers(fold.dataset.interactions) == expected


@given(logs(), st.sampled_from(["valid", "test"]))
def test_a_temporal_history_ends_before_the_heldout_time_begins(
    dataset: Dataset, part: Part
) -> None:
    try:
        fold = make_fold(dataset, "temporal:valid=0.2,test=0.2", part)
    except DataError:
        return
    assert fold.dataset.interactions.timestamp.max() < fold.heldout.timestamp.min()


def test_a_temporal_split_holds_out_the_asked_share_of_rows() -> None:
    dataset = dataset_of([(user, time, time, 1) for user in range(5) for time in range(100)])
    valid = make_fold(dataset, "temporal:valid=0.2,test=0.1", "valid")
    test = make_fold(dataset, "temporal:valid=0.2,test=0.1", "test")
    assert len(valid.dataset.interactions) == 350
    assert len(valid.heldout) == 100
    assert len(test.dataset.interactions) == 450
    assert len(test.heldout) == 50


def test_a_random_split_takes_the_share_of_every_user() -> None:
    rows = [(user, item, item, 1) for user in range(4) for item in range(20 * (user + 1))]
    fold = make_fold(dataset_of(rows), "random", "test")
    assert np.bincount(fold.heldout.user).tolist() == [5, 10, 15, 20]
    valid = make_fold(dataset_of(rows), "random", "valid")
    assert np.bincount(valid.heldout.user).tolist() == [2, 4, 6, 8]
    other = make_fold(dataset_of(rows), "random:seed=1", "test")
    assert pairs(other.heldout) != pairs(fold.heldout)


def test_a_users_only_positive_is_never_held_out() -> None:
    rows = [(0, item, item, 1) for item in range(10)] + [(1, 0, 0, 1)]
    for split in ("leave_one_out", "random:test=0.5"):
        assert make_fold(dataset_of(rows), split, "test").users.tolist() == [0]


@given(logs(), st.integers(1, 4))
def test_the_core_agrees_with_a_plain_loop(dataset: Dataset, k: int) -> None:
    rows = dataset.interactions
    clicks = [
        (int(user), int(item))
        for user, item, click in zip(rows.user, rows.item, rows.behaviours["click"], strict=True)
        if click >= 1
    ]
    while True:
        users, items = Counter(user for user, _ in clicks), Counter(item for _, item in clicks)
        kept = [(u, i) for u, i in clicks if users[u] >= k and items[i] >= k]
        if kept == clicks:
            break
        clicks = kept
    try:
        fold = make_fold(dataset, f"leave_one_out+core:{k}", "test")
    except DataError:
        return
    used = pairs(fold.dataset.interactions) | pairs(fold.heldout)
    assert {user for user, _ in used} <= {user for user, _ in clicks}
    assert {item for _, item in used} <= {item for _, item in clicks}
    assert fold.dataset.n_items == dataset.n_items  # indices are not renumbered
    history = fold.dataset.interactions
    positives = history.take(dataset.is_positive(history))
    assert pairs(positives) | pairs(fold.heldout) <= set(clicks)


def test_places_in_a_history_cannot_be_split_by_time() -> None:
    dataset = dataset_of([(0, item, item, 1) for item in range(9)], has_times=False)
    with pytest.raises(DataError, match="no times"):
        make_fold(dataset, "temporal", "test")
    assert len(make_fold(dataset, "leave_one_out", "test").heldout) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("leave_one_out", Split("leave_one_out")),
        ("leave_one_out+core:5", Split("leave_one_out", core=5)),
        ("temporal", Split("temporal", 0.1, 0.1)),
        ("temporal:test=0.3", Split("temporal", 0.1, 0.3)),
        ("random", Split("random", 0.1, 0.25, 0)),
        ("random:valid=0.2,test=0.2,seed=7+core:10", Split("random", 0.2, 0.2, 7, 10)),
    ],
)
def test_a_name_is_read(name: str, expected: Split) -> None:
    assert parse_split(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        "loo",
        "leave_one_out:test=0.1",
        "temporal:test=1.5",
        "temporal:test=0.6,valid=0.6",
        "temporal:test=0",
        "random:seed=x",
        "random:colour=1",
        "random+core:",
        "random+core:-1",
        "random; rm -rf /",
    ],
)
def test_a_name_out_of_grammar_is_refused_with_the_grammar(name: str) -> None:
    with pytest.raises(DataError, match="use leave_one_out"):
        parse_split(name)


def test_an_unknown_part_is_refused() -> None:
    part: Any = "train"
    with pytest.raises(DataError, match="use valid or test"):
        make_fold(dataset_of([(0, 0, 0, 1)]), "random", part)


def test_the_sample_is_fixed_grows_by_inclusion_and_is_spread_over_users() -> None:
    users = np.arange(1000, dtype=np.int32)
    small, large = sample_of(users, 0.2), sample_of(users, 0.5)
    assert (small.sum(), large.sum()) == (200, 500)
    assert large[small].all()
    assert 60 < small[:500].sum() < 140
    assert 60 < small[::2].sum() < 140
    assert sample_of(users[:3], 0.01).sum() == 1
