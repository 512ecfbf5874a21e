from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.rewards.outer import captured_value
from agenticrs.rewards.ranking import ranking_metrics

OFFSETS = torch.tensor([0, 3, 5])
ITEMS = torch.tensor([1, 2, 3, 1, 9])
VALUE = torch.tensor([10.0, 0.0, 30.0, 4.0, 1.0])


def test_it_is_discounted_value_over_the_best_order_of_what_was_held_out() -> None:
    ranked = torch.tensor([[1, 7, 3], [9, 1, -1]])
    got = captured_value(ranked, OFFSETS, ITEMS, VALUE, 3)
    best = (30 + 10 / math.log2(3)) + (4 + 1 / math.log2(3))
    first, second = 10 + 30 / 2, 1 + 4 / math.log2(3)
    assert got.tolist() == pytest.approx([2 * first / best, 2 * second / best])
    assert float(got.mean()) == pytest.approx((first + second) / best)


def test_the_ideal_is_cut_at_k() -> None:
    got = captured_value(torch.tensor([[3], [1]]), OFFSETS, ITEMS, VALUE, 1)
    assert got.tolist() == pytest.approx([30 / 17, 4 / 17])


def test_where_no_held_out_item_has_value_each_counts_one() -> None:
    ranked = torch.tensor([[5, 2, 1]])
    offsets, items = torch.tensor([0, 2]), torch.tensor([1, 2])
    got = captured_value(ranked, offsets, items, torch.zeros(2), 3)
    ndcg = ranking_metrics(ranked, offsets, items, (3,))["ndcg@3"]
    assert got.tolist() == pytest.approx(ndcg.tolist())


def test_a_user_without_held_out_items_gets_zero() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    got = captured_value(torch.tensor([[1, 2]]), torch.tensor([0, 0]), nothing, torch.zeros(0), 2)
    assert got.tolist() == [0.0]


@given(
    st.lists(st.floats(0, 1e4), min_size=1, max_size=8),
    st.permutations(list(range(12))),
    st.integers(1, 12),
)
def test_it_stays_between_zero_and_one_and_its_ideal_order_reaches_one(
    values: list[float], ranked: list[int], k: int
) -> None:
    items, offsets = torch.arange(len(values)), torch.tensor([0, len(values)])
    value = torch.tensor(values, dtype=torch.float64)
    got = float(captured_value(torch.tensor([ranked]), offsets, items, value, k)[0])
    assert 0.0 <= got <= 1.0 + 1e-9
    best = value.argsort(descending=True)[None]
    assert float(captured_value(best, offsets, items, value, k)[0]) == pytest.approx(1.0)
