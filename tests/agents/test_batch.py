"""Histories are cut, taken and filtered together with the times of their entries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.early_stopping import hold_back
from agenticrs.agents.training_data import histories
from agenticrs.platform.data.dataset import Interactions

USERS = UserBatch(
    users=torch.tensor([0, 1, 2]),
    offsets=torch.tensor([0, 3, 3, 7]),
    items=torch.tensor([5, 6, 7, 1, 2, 3, 9]),
    times=torch.tensor([50, 60, 70, 10, 20, 30, 90]),
)


def together(batch: UserBatch) -> bool:
    """Whether every item still has the time that it had: ten times its number."""
    return batch.times is not None and batch.times.tolist() == [10 * i for i in batch.items]


def test_times_stay_with_their_items() -> None:
    assert together(USERS)
    assert together(USERS.take(torch.tensor([2, 0, 2])))
    assert USERS.take(torch.tensor([2, 1])).items.tolist() == [1, 2, 3, 9]
    smaller = USERS.within(2, 7)
    assert together(smaller)
    assert smaller.users.tolist() == [0, 1, -1]
    assert smaller.items.tolist() == [5, 6, 1, 2, 3]
    assert together(USERS.within(3, 10))
    shorter = USERS.without_newest()
    assert together(shorter)
    assert shorter.items.tolist() == [5, 6, 1, 2, 3]
    assert shorter.offsets.tolist() == [0, 2, 2, 5]


def test_what_is_held_back_takes_its_time_along() -> None:
    shorter, users, newest = hold_back(USERS, torch.Generator().manual_seed(0))
    assert together(shorter)
    assert len(users) == len(newest) == 1
    assert len(shorter.items) == 6


def test_the_newest_times_have_the_shape_of_the_newest_items() -> None:
    items, lengths = USERS.newest(2)
    times = USERS.newest_times(2)
    assert times is not None
    assert lengths.tolist() == [2, 0, 2]
    assert torch.equal(times, torch.where(items >= 0, 10 * items, 0))
    nobody = USERS.take(torch.tensor([1]))
    found = nobody.newest_times(4)
    assert found is not None
    assert found.tolist() == [[0]]


def test_times_that_are_not_known_stay_unknown() -> None:
    unknown = UserBatch(USERS.users, USERS.offsets, USERS.items)
    assert unknown.newest_times(2) is None
    for batch in (unknown.take(torch.tensor([2])), unknown.within(2, 7), unknown.without_newest()):
        assert batch.times is None


@pytest.mark.parametrize("timed", [True, False])
def test_places_in_a_history_do_not_pass_for_times(timed: bool) -> None:
    log = Interactions(
        user=np.array([0, 0, 1], np.int32),
        item=np.array([4, 2, 3], np.int32),
        timestamp=np.array([1, 2, 1], np.int64),
        behaviours={},
    )
    found = histories(log, 2, timed=timed)
    assert found.items.tolist() == [4, 2, 3]
    assert (found.times is not None) == timed
