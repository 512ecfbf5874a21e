from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.agents import lists
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.platform.errors import AgentError

N_ITEMS = 9
row = st.lists(st.integers(-1, N_ITEMS + 2), min_size=6, max_size=6)
history = st.lists(st.integers(0, N_ITEMS + 2), max_size=8)


def batch(histories: list[list[int]]) -> UserBatch:
    lengths = torch.tensor([0, *(len(items) for items in histories)])
    flat = torch.tensor([item for items in histories for item in items], dtype=torch.int64)
    return UserBatch(torch.arange(len(histories)), lengths.cumsum(0), flat)


@given(st.lists(st.tuples(row, history), min_size=1, max_size=5))
def test_only_the_first_unseen_entry_of_a_known_item_may_stay(
    users: list[tuple[list[int], list[int]]],
) -> None:
    items = torch.tensor([shown for shown, _ in users])
    keep = lists.allowed(items, batch([seen for _, seen in users]), N_ITEMS)
    for at, (shown, seen) in enumerate(users):
        for place, item in enumerate(shown):
            expected = 0 <= item < N_ITEMS and item not in seen and item not in shown[:place]
            assert bool(keep[at, place]) is expected
    kept = lists.compact(Candidates(items, -torch.arange(6.0).expand(len(users), 6)), keep)
    for at, (shown, _) in enumerate(users):
        want = [item for place, item in enumerate(shown) if keep[at, place]]
        assert [item for item in kept.items[at].tolist() if item >= 0] == want
        assert kept.items[at, : len(want)].tolist() == want
        assert (kept.scores[at, len(want) :] == -torch.inf).all()


def test_what_was_seen_is_left_out_of_large_catalogues_too() -> None:
    shown = torch.tensor([[4, 7, 4, 10**9, -1], [7, 4, 0, 3, 5]])
    seen = batch([[7, 10**9 + 1], [0, 5]])
    wanted = [[True, False, False, False, False], [True, True, False, True, False]]
    for n_items in (8, 10**9):
        assert lists.allowed(shown, seen, n_items).tolist() == wanted


def test_lists_are_widened_with_pads_or_cut() -> None:
    two = Candidates(torch.tensor([[1, 2]]), torch.tensor([[0.5, 0.25]]))
    assert lists.widen(two, 3).items.tolist() == [[1, 2, -1]]
    assert lists.widen(two, 3).scores.tolist() == [[0.5, 0.25, -torch.inf]]
    assert lists.widen(two, 1).items.tolist() == [[1]]


def test_sound_lists_pass_the_check_unchanged() -> None:
    sound = Candidates(torch.tensor([[1, -1]]), torch.tensor([[0.5, -torch.inf]]))
    assert lists.check(sound, 1, N_ITEMS) is sound


@pytest.mark.parametrize(
    ("items", "scores", "fault"),
    [
        ([[1, 2]], [[0.5, float("nan")]], "NaN or infinite"),
        ([[1, 2]], [[float("inf"), 0.0]], "NaN or infinite"),
        ([[1, 2]], [[0.0]], r"items \(1, 2\) and scores \(1, 1\)"),
        ([[1], [2]], [[0.0], [0.0]], "for 1 users"),
        ([[N_ITEMS]], [[0.0]], "outside the catalogue"),
        ([[-2]], [[0.0]], "outside the catalogue"),
    ],
)
def test_unsound_lists_are_refused(
    items: list[list[int]], scores: list[list[float]], fault: str
) -> None:
    with pytest.raises(AgentError, match=fault):
        lists.check(Candidates(torch.tensor(items), torch.tensor(scores)), 1, N_ITEMS)


def test_another_type_is_refused() -> None:
    with pytest.raises(AgentError, match="put out NoneType"):
        lists.check(None, 1, N_ITEMS)
