from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval import gram
from agenticrs.agents.training_data import TrainingData

MakeData = Callable[..., TrainingData]


def dense(batch: UserBatch, n_items: int) -> torch.Tensor:
    matrix = torch.zeros(len(batch), n_items)
    matrix[batch.rows, batch.items] = 1.0
    return matrix


@pytest.mark.parametrize("cost", [0, 10**9], ids=["pairs", "dense"])
@pytest.mark.parametrize("at_once", [1, 7, 10**6])
def test_both_ways_give_x_transposed_x_in_blocks_of_any_size(
    random_data: TrainingData, monkeypatch: pytest.MonkeyPatch, cost: int, at_once: int
) -> None:
    monkeypatch.setattr(gram, "_MULTIPLICATIONS_PER_PAIR", cost)
    monkeypatch.setattr(gram, "_PAIRS_AT_ONCE", at_once)
    monkeypatch.setattr(gram, "_DENSE_CELLS_AT_ONCE", at_once * 30)
    distinct = gram.binary_pairs(random_data.histories, 30)
    matrix = dense(distinct, 30)
    expected = matrix.T @ matrix
    torch.testing.assert_close(gram.gram_rows(distinct, 30, 0, 30), expected)
    torch.testing.assert_close(gram.gram_rows(distinct, 30, 4, 11), expected[4:11])


def test_repeated_items_count_once(make_data: MakeData) -> None:
    data = make_data([[2, 1, 2], [], [1]], 3)
    distinct = gram.binary_pairs(data.histories, 3)
    assert distinct.items.tolist() == [1, 2, 1]
    assert distinct.offsets.tolist() == [0, 2, 2, 3]
