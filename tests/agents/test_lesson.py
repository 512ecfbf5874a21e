from __future__ import annotations

import numpy as np
import torch

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.lesson import Lesson, halves, teaching_rows
from agenticrs.agents.training_data import Heldout
from agenticrs.platform.data.splits import search_users


def test_gains_are_the_values_of_what_was_taken_by_that_user() -> None:
    users = UserBatch(torch.arange(3), torch.zeros(4).long(), torch.zeros(0).long())
    truth = Heldout(
        torch.arange(3),
        torch.tensor([0, 2, 2, 3]),
        torch.tensor([5, 2, 5]),
        torch.tensor([1.0, 3.0, 7.0]),
    )
    lesson = Lesson(users, (), truth)
    items = torch.tensor([[2, 5, 9, -1], [5, 2, -1, -1], [2, 5, 5, 0]])
    assert lesson.gains(items, 10).tolist() == [[3, 1, 0, 0], [0, 0, 0, 0], [0, 7, 7, 0]]
    assert lesson.take(torch.tensor([2])).gains(items[2:], 10).tolist() == [[0, 7, 7, 0]]


def test_only_search_users_teach_and_the_halves_never_judge_themselves() -> None:
    users = torch.arange(0, 500, 2)
    rows = teaching_rows(users)
    assert rows.tolist() == np.flatnonzero(search_users(users.numpy())).tolist()
    (learn, judged), (other, again) = halves(rows)
    assert set(learn.tolist()) == set(again.tolist())
    assert set(learn.tolist()) | set(judged.tolist()) == set(rows.tolist())
    assert not set(learn.tolist()) & set(judged.tolist())
    assert torch.equal(other, judged)
    confirm = torch.from_numpy(np.flatnonzero(~search_users(np.arange(9))))
    assert len(teaching_rows(confirm)) == len(confirm)
    assert halves(rows[:1]) == ()


def test_taking_users_takes_their_lists() -> None:
    users = UserBatch(torch.arange(2), torch.tensor([0, 1, 3]), torch.tensor([4, 5, 6]))
    lists = Candidates(torch.tensor([[1], [2]]), torch.ones(2, 1))
    truth = Heldout(torch.arange(2), torch.tensor([0, 1, 1]), torch.tensor([3]), torch.ones(1))
    second = Lesson(users, (lists,), truth).take(torch.tensor([1]))
    assert second.users.items.tolist() == [5, 6]
    assert second.inputs[0].items.tolist() == [[2]]
    assert len(second.truth.items) == 0
    assert len(second) == 1
