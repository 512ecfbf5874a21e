from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.rewards.sources import explained, held_by, source_shares

SHOWN = torch.tensor([[1, 2, 3], [4, 5, -1]])
FIRST = torch.tensor([[1, 2], [9, 9]])
SECOND = torch.tensor([[2, 7, -1], [5, -1, -1]])


def test_an_item_counts_where_that_users_own_list_holds_it() -> None:
    assert held_by(SHOWN, [FIRST, SECOND]).tolist() == [
        [[True, True, False], [False, False, False]],
        [[False, True, False], [False, True, False]],
    ]
    other_user = torch.tensor([[4, 5, 5], [1, 2, 3]])
    assert not held_by(SHOWN, [other_user]).any()


def test_shares_are_split_between_those_who_had_the_item() -> None:
    # Five items are shown: 1 is the first's, 2 is both's, 5 is the second's, 3 and 4 nobody's.
    assert source_shares(SHOWN, [FIRST, SECOND]).tolist() == [1.5 / 5, 1.5 / 5]
    assert explained(SHOWN, [FIRST, SECOND]) == 3 / 5


def test_without_sources_or_items_nothing_is_explained() -> None:
    assert explained(SHOWN, []) == 0.0
    assert source_shares(SHOWN, []).tolist() == []
    assert explained(torch.full((2, 3), -1), [FIRST]) == 0.0
    assert explained(torch.empty((0, 3), dtype=torch.int64), [torch.empty((0, 2))]) == 0.0


items = st.lists(st.lists(st.integers(-1, 6), min_size=3, max_size=3), min_size=2, max_size=2)


@settings(max_examples=50, deadline=None)
@given(items, st.lists(items, max_size=3))
def test_shares_sum_to_what_is_explained(
    shown: list[list[int]], lists: list[list[list[int]]]
) -> None:
    given_lists = [torch.tensor(one) for one in lists]
    total = float(source_shares(torch.tensor(shown), given_lists).sum())
    assert abs(total - explained(torch.tensor(shown), given_lists)) < 1e-12
