from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.platform.data import snapshot as snapshots
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.raw import Event, RawLog
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.data.validation import InvalidRows
from agenticrs.platform.errors import DataError, UnknownDataset

MakeRaw = Callable[..., RawLog]
FIRST = [("u10", "b", 5, 1.0), ("u2", "a", 3, 0.0), ("u2", "b", 3, 1.0), ("u2", "c", 1, 1.0)]


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets", clock=lambda: 1_000_000.0)


def rich(make_raw: MakeRaw, order: list[int] | None = None) -> RawLog:
    """A log with every kind of column, its rows in ``order``."""
    order = order if order is not None else [0, 1, 2, 3]
    watched, tabs = [4.0, 0.0, 2.5, 9.0], ["1", None, "2", "1"]
    return make_raw(
        [FIRST[place] for place in order],
        columns={
            "watch_time": [watched[place] for place in order],
            "tab": [tabs[place] for place in order],
        },
        users={
            "user_id": ["u2", "u10", "u3"],
            "age": ["old", None, "young"],
            "fame": [1.5, None, 3.0],
        },
        items={
            "item_id": ["c", "a", "b"],
            "title": ["Third", None, "Second"],
            "genres": pa.array([["x", "y"], [], None], pa.list_(pa.string())),
        },
        user_features={"age": "categorical", "fame": "numeric"},
        item_features={"genres": "multi_hot"},
        context=("tab",),
        value="watch_time",
        notes=("one note",),
    )


def assert_same(one: Dataset, other: Dataset) -> None:
    """Equal in every array."""
    assert (one.name, one.fingerprint) == (other.name, other.fingerprint)
    assert (one.positive, one.value, one.has_times) == (
        other.positive,
        other.value,
        other.has_times,
    )
    for name in ("user_ids", "item_ids", "item_titles"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("user", "item", "timestamp"):
        left, right = getattr(one.interactions, name), getattr(other.interactions, name)
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    groups = [
        (one.interactions.behaviours, other.interactions.behaviours),
        (one.interactions.context, other.interactions.context),
    ]
    for side in ("user_features", "item_features"):
        left, right = getattr(one, side), getattr(other, side)
        assert left.cardinality == right.cardinality
        groups += [
            (getattr(left, kind), getattr(right, kind))
            for kind in ("categorical", "multi_hot", "numeric")
        ]
    for mine, theirs in groups:
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])
            assert mine[name].dtype == theirs[name].dtype


def test_what_is_saved_is_what_is_loaded(store: DatasetStore, make_raw: MakeRaw) -> None:
    saved = store.save("log", rich(make_raw))
    assert_same(saved, store.load("log"))
    assert_same(saved, store.load("log", saved.fingerprint))


def test_arrays_say_what_the_log_said(store: DatasetStore, make_raw: MakeRaw) -> None:
    dataset = store.save("log", rich(make_raw))
    assert dataset.user_ids.tolist() == ["u2", "u3", "u10"]
    assert dataset.item_ids.tolist() == ["a", "b", "c"]
    assert dataset.item_titles.tolist() == ["a", "Second", "Third"]
    rows = dataset.interactions
    assert rows.user.tolist() == [0, 0, 0, 2]
    assert rows.timestamp.tolist() == [1, 3, 3, 5]
    by_pair = dict(
        zip(
            zip(rows.user.tolist(), rows.item.tolist(), strict=True),
            rows.behaviours["watch_time"].tolist(),
            strict=True,
        )
    )
    assert by_pair == {(2, 1): 4.0, (0, 0): 0.0, (0, 1): 2.5, (0, 2): 9.0}
    assert sorted(rows.context["tab"].tolist()) == [0, 1, 1, 2]
    assert dataset.user_features.categorical["age"].tolist() == [1, 2, 0]
    assert dataset.user_features.cardinality == {"age": 3}
    assert dataset.user_features.numeric["fame"].tolist() == [1.5, 3.0, 0.0]
    assert dataset.item_features.multi_hot["genres"].tolist() == [[0, 0], [0, 0], [1, 1]]


@given(order=st.permutations(range(4)), cut=st.integers(0, 4))
def test_the_fingerprint_knows_no_order_of_rows_and_no_chunks(
    make_raw: MakeRaw, order: list[int], cut: int
) -> None:
    raw = rich(make_raw, order)
    table = pa.concat_tables([raw.interactions.slice(0, cut), raw.interactions.slice(cut)])
    shuffled = RawLog(table, raw.users, raw.items.take([2, 0, 1]), raw.declaration)
    expected, _ = snapshots.build(rich(make_raw))
    content, _ = snapshots.build(shuffled)
    assert snapshots.fingerprint(content) == snapshots.fingerprint(expected)
    assert_same(content.dataset("x", "y"), expected.dataset("x", "y"))


@given(st.sets(st.tuples(*[st.integers(0, 4)] * 3), min_size=1), st.randoms())
def test_the_fingerprint_knows_no_order_of_imports(
    make_raw: MakeRaw, cells: set[tuple[int, int, int]], random: random.Random
) -> None:
    rows = [(f"u{user}", f"i{item}", time, 1.0) for user, item, time in cells]
    whole, _ = snapshots.build(make_raw(rows))
    random.shuffle(rows)
    cut = random.randint(1, len(rows))
    part, _ = snapshots.build(make_raw(rows[:cut]))
    grown, skipped = snapshots.build(make_raw(rows[cut // 2 :]), part)
    assert skipped == cut - cut // 2
    assert snapshots.fingerprint(grown) == snapshots.fingerprint(whole)
    n = len(part.users)
    assert grown.users["user_id"].to_pylist()[:n] == part.users["user_id"].to_pylist()


@pytest.mark.parametrize("what", ["click", "watch_time", "tab", "age", "title", "genres"])
def test_any_other_content_has_another_fingerprint(make_raw: MakeRaw, what: str) -> None:
    raw = rich(make_raw)
    changes: dict[str, tuple[str, pa.Array]] = {
        "click": ("interactions", pa.array([1.0, 1.0, 1.0, 1.0])),
        "watch_time": ("interactions", pa.array([4.0, 0.0, 2.5, 8.0])),
        "tab": ("interactions", pa.array(["1", None, "2", "2"])),
        "age": ("users", pa.array(["old", "young", "young"])),
        "title": ("items", pa.array(["Third", "First", "Second"])),
        "genres": ("items", pa.array([["x"], [], None], pa.list_(pa.string()))),
    }
    side, column = changes[what]
    tables = {name: getattr(raw, name) for name in ("interactions", "users", "items")}
    place = tables[side].column_names.index(what)
    tables[side] = tables[side].set_column(place, what, column)
    other, _ = snapshots.build(RawLog(**tables, declaration=raw.declaration))
    assert snapshots.fingerprint(other) != snapshots.fingerprint(snapshots.build(raw)[0])


def test_the_same_content_makes_no_second_snapshot(store: DatasetStore, make_raw: MakeRaw) -> None:
    one = store.save("log", rich(make_raw))
    two = store.save("log", rich(make_raw, [3, 1, 0, 2]))
    assert one.fingerprint == two.fingerprint
    assert store.fingerprints("log") == (one.fingerprint,)
    assert store.save("copy", rich(make_raw)).fingerprint == one.fingerprint


def test_appending_keeps_indices_codes_and_old_snapshots(
    store: DatasetStore, make_raw: MakeRaw
) -> None:
    old = store.save("log", rich(make_raw))
    more = make_raw(
        [("a-first", "0", 7, 1.0), ("u2", "b", 3, 1.0)],
        columns={"watch_time": [1.0, 2.5], "tab": ["0", "2"]},
        users={"user_id": ["a-first", "u2"], "age": ["aged", "old"], "fame": [9.0, 2.0]},
        user_features={"age": "categorical", "fame": "numeric"},
        context=("tab",),
        value="watch_time",
    )
    new = store.save("log", more)
    assert store.fingerprints("log") == (old.fingerprint, new.fingerprint)
    assert new.user_ids.tolist() == ["u2", "u3", "u10", "a-first"]
    assert new.item_ids.tolist() == ["a", "b", "c", "0"]
    assert len(new.interactions) == 5
    assert new.user_features.categorical["age"].tolist() == [1, 2, 0, 3]
    assert new.user_features.numeric["fame"].tolist() == [2.0, 3.0, 0.0, 9.0]
    assert new.item_titles.tolist()[:3] == old.item_titles.tolist()
    assert store.summary("log").notes == ("1 rows that the dataset already has skipped",)
    assert_same(store.load("log", old.fingerprint), old)
    assert_same(store.load("log"), new)


def test_features_that_return_to_what_they_were_make_the_old_content_the_newest(
    store: DatasetStore, make_raw: MakeRaw
) -> None:
    def with_age(age: str) -> RawLog:
        return make_raw(
            [("u", "i", 1, 1.0)],
            users={"user_id": ["u"], "age": [age]},
            user_features={"age": "categorical"},
        )

    one = store.save("log", with_age("young"))
    two = store.save("log", with_age("aged"))
    assert store.save("log", with_age("young")).fingerprint == one.fingerprint
    assert store.fingerprints("log") == (two.fingerprint, one.fingerprint)
    assert store.load("log").user_features.cardinality == {"age": 3}


def test_bad_rows_are_refused_or_left_out_with_a_note(
    store: DatasetStore, make_raw: MakeRaw
) -> None:
    raw = make_raw([("u", "i", 1, 1.0), ("u", "j", 2, -1.0), ("u", "k", 2_000_000, 1.0)])
    with pytest.raises(InvalidRows, match="row 2, column click: negative") as caught:
        store.save("log", raw)
    assert len(caught.value.report.rows) == 2
    assert store.list() == ()
    dataset = store.save("log", raw, keep_good=True)
    assert dataset.item_ids.tolist() == ["i"]
    assert "1 future, 1 negative" in store.summary("log").notes[0]
    with pytest.raises(DataError, match="no rows"):
        store.save("other", make_raw([("u", "j", 2, -1.0)]), keep_good=True)


def test_feedback_becomes_a_new_snapshot(store: DatasetStore, make_raw: MakeRaw) -> None:
    old = store.save("log", rich(make_raw))
    events = [
        Event("u2", "a", 900, {"click": 1, "like": 1}),
        Event("newcomer", "c", 901, {"watch_time": 3.5}),
    ]
    new = store.append_events("log", events)
    assert new.fingerprint != old.fingerprint
    assert len(new.interactions) == 6
    assert new.user_ids.tolist() == [*old.user_ids.tolist(), "newcomer"]
    assert new.interactions.behaviours["like"].tolist() == [0, 0, 0, 1, 0, 0]
    assert new.interactions.behaviours["watch_time"].tolist()[-1] == 3.5
    assert_same(store.append_events("log", events), new)
    assert_same(store.append_events("log", []), new)


def test_bad_feedback_is_named_by_its_place(store: DatasetStore, make_raw: MakeRaw) -> None:
    store.save("log", rich(make_raw))
    events = [Event("u2", "a", 9, {"click": 1}), Event("u2", "never heard of", 9, {"click": 1})]
    with pytest.raises(InvalidRows, match="row 2, column item_id: unknown"):
        store.append_events("log", events)
    assert len(store.append_events("log", events, keep_good=True).interactions) == 5
    with pytest.raises(DataError, match="unknown behaviour 'smile'"):
        store.append_events("log", [Event("u2", "a", 9, {"smile": 1})])
    with pytest.raises(UnknownDataset):
        store.append_events("nothing", events)


def test_a_contradicting_declaration_is_refused(store: DatasetStore, make_raw: MakeRaw) -> None:
    store.save("log", make_raw([("u", "i", 1, 1.0)]))
    with pytest.raises(DataError, match="another name"):
        store.save("log", make_raw([("u", "i", 1, 1.0)], has_times=False))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../evil",
        "a/b",
        "/etc",
        "a\\b",
        "A",
        "a.b",
        "-a",
        "a\n",
        "a" * 65,
        "ä",
        ".lock",
    ],
)
def test_hostile_names_are_refused_before_anything_is_touched(
    tmp_path: Path, make_raw: MakeRaw, name: str
) -> None:
    root = tmp_path / "inner" / "datasets"
    store = DatasetStore(root)
    calls: list[Callable[[], Any]] = [
        lambda: store.save(name, make_raw([("u", "i", 1, 1.0)])),
        lambda: store.load(name),
        lambda: store.fingerprints(name),
    ]
    for call in calls:
        with pytest.raises(DataError, match="no name for a dataset"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_exist_is_unknown_with_a_hint(store: DatasetStore, make_raw: MakeRaw) -> None:
    with pytest.raises(UnknownDataset, match="none yet"):
        store.load("log")
    fingerprint = store.save("log", make_raw([("u", "i", 1, 1.0)])).fingerprint
    with pytest.raises(UnknownDataset, match="stored: log"):
        store.load("lag")
    for other in ("0" * 16, "../log"):
        with pytest.raises(UnknownDataset, match=fingerprint):
            store.load("log", other)


def test_the_list_names_the_newest_snapshot_of_each(store: DatasetStore, make_raw: MakeRaw) -> None:
    store.save("b", rich(make_raw))
    new = store.append_events("b", [Event("u2", "a", 900, {"click": 1})])
    store.save("a", make_raw([("u", "i", 1, 1.0)]))
    first, second = store.list()
    assert (first.name, second.name) == ("a", "b")
    assert (second.fingerprint, second.snapshots) == (new.fingerprint, 2)
    assert (second.n_users, second.n_items, second.n_interactions) == (3, 3, 5)
    assert (second.n_positives, second.first, second.last) == (4, 1, 900)


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path, make_raw: MakeRaw) -> None:
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            rows = [(f"u{number}", f"i{item}", item, 1.0) for item in range(3)]
            DatasetStore(tmp_path).save("log", make_raw(rows))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    store = DatasetStore(tmp_path)
    dataset = store.load("log")
    assert len(dataset.interactions) == 18
    assert sorted(dataset.user_ids) == [f"u{number}" for number in range(6)]
    assert len(store.fingerprints("log")) == 6


def test_the_rest_of_a_writer_that_died_is_ignored_and_removed(
    store: DatasetStore, make_raw: MakeRaw, tmp_path: Path
) -> None:
    store.save("log", make_raw([("u", "i", 1, 1.0)]))
    left = tmp_path / "datasets" / "log" / ".writing-dead"
    left.mkdir()
    (left / "interactions.parquet").write_bytes(b"half a file")
    assert len(store.load("log").interactions) == 1
    store.save("log", make_raw([("u", "j", 1, 1.0)]))
    assert not left.exists()


def test_a_damaged_snapshot_is_named(
    store: DatasetStore, make_raw: MakeRaw, tmp_path: Path
) -> None:
    fingerprint = store.save("log", make_raw([("u", "i", 1, 1.0)])).fingerprint
    folder = tmp_path / "datasets" / "log" / fingerprint
    entry = json.loads((folder / "dataset.json").read_text())
    assert (entry["fingerprint"], entry["parent"]) == (fingerprint, None)
    (folder / "users.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"users\.parquet"):
        store.load("log")
    (folder / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json"):
        store.load("log")
