"""One history out of the snapshot, live feedback and what a caller tells, with its times."""

from __future__ import annotations

import numpy as np
import pytest

from agenticrs.platform.data.dataset import Dataset, Features, Interactions, Positive
from agenticrs.ui.live_histories import Histories, LiveHistories, Seen


def histories(*, has_times: bool = True) -> Histories:
    """Users u0 and u1, items i0 to i5; u0 liked i1 at 100 and i3 at 200."""
    dataset = Dataset(
        name="small",
        fingerprint="small",
        interactions=Interactions(
            user=np.array([0, 0, 1], np.int32),
            item=np.array([1, 3, 2], np.int32),
            timestamp=np.array([100, 200, 50], np.int64),
            behaviours={"click": np.ones(3, np.float32)},
        ),
        user_ids=np.array(["u0", "u1"]),
        item_ids=np.array([f"i{n}" for n in range(6)]),
        item_titles=np.array([f"Item {n}" for n in range(6)]),
        user_features=Features(),
        item_features=Features(),
        positive=Positive("click", 1.0),
        has_times=has_times,
    )
    return Histories(dataset)


@pytest.mark.parametrize(
    ("user", "told", "items", "times"),
    [
        ("u0", (), [1, 3], [100, 200]),
        ("u0", ("i5", "i3", "i0"), [1, 3, 5, 0], [100, 200, 200, 200]),
        ("u1", ("i4",), [2, 0, 4], [50, 300, 300]),
        (None, ("i4", "nothing"), [4], [0]),
        (None, (), [], []),
    ],
)
def test_what_is_told_without_a_time_counts_as_taken_with_the_newest(
    user: str | None, told: tuple[str, ...], items: list[int], times: list[int]
) -> None:
    live = LiveHistories()
    live.add([Seen("u1", "i0", 300), Seen("u0", "i3", 200)])  # the second is folded in already
    batch = histories().batch(user, live, told)
    assert batch.items.tolist() == items
    assert batch.offsets.tolist() == [0, len(items)]
    assert batch.times is not None
    assert batch.times.tolist() == times


def test_a_snapshot_without_times_gives_histories_without_times() -> None:
    batch = histories(has_times=False).batch("u0", LiveHistories(), ("i4",))
    assert batch.items.tolist() == [1, 3, 4]
    assert batch.times is None


def test_what_a_snapshot_holds_by_now_is_forgotten_and_no_history_changes() -> None:
    live, snapshot = LiveHistories(), histories()
    folded_in = [Seen("u0", "i1", 100), Seen("u0", "i3", 200), Seen("u1", "i2", 50)]
    kept = [
        Seen("u0", "i3", 201),
        Seen("u1", "i3", 200),
        Seen("nobody", "i1", 100),
        Seen("u1", "of another dataset", 50),
    ]
    live.add([*folded_in, *kept])
    users = ("u0", "u1", "nobody")
    before = [snapshot.batch(user, live, ()).items.tolist() for user in users]
    live.forget(snapshot)
    assert [snapshot.batch(user, live, ()).items.tolist() for user in users] == before
    assert [seen for user in users for seen in live.of(user)] == [
        kept[0],
        kept[1],
        kept[3],
        kept[2],
    ]
    live.add(folded_in[:1])  # told again: it counts as new, and is not counted twice
    assert snapshot.batch("u0", live, ()).items.tolist() == before[0]
    live.forget(snapshot)
    assert live.of("u0") == (kept[0],)
