from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from agenticrs.rewards import credit
from agenticrs.rewards.credit import (
    Coalition,
    antithetic_orders,
    exact_shapley,
    heads,
    leave_one_out,
    sampled_shapley,
    shapley,
    subsets,
)

MEMBERS = ("a", "b", "c", "d", "e", "f", "g", "h")


def game(members: tuple[str, ...], seed: int, users: int = 5) -> dict[Coalition, torch.Tensor]:
    """Any rewards at all, for each user."""
    generator = torch.Generator().manual_seed(seed)
    return {c: torch.randn(users, generator=generator) for c in subsets(members)}


def glove(coalition: Coalition) -> float:
    """One left glove and two right ones: a pair is worth 1."""
    return float("left" in coalition and bool(coalition & {"right", "spare"}))


def airport(coalition: Coalition) -> float:
    """A runway must be as long as the largest plane needs (Littlechild & Owen 1973)."""
    return max((1.0 + MEMBERS.index(one) for one in coalition), default=0.0)


def test_the_glove_game_is_the_textbook_example() -> None:
    members = ("left", "right", "spare")
    found = {one: c.mean for one, c in shapley(members, glove, seed=0).items()}
    assert found == pytest.approx({"left": 2 / 3, "right": 1 / 6, "spare": 1 / 6})
    alone = {one: c.mean for one, c in leave_one_out(members, glove).items()}
    assert alone == {"left": 1.0, "right": 0.0, "spare": 0.0}


def test_planes_share_each_piece_of_a_runway_among_those_who_need_it() -> None:
    found = exact_shapley(MEMBERS, airport)
    expected = [sum(1 / (8 - piece) for piece in range(place + 1)) for place in range(8)]
    assert [found[one].mean for one in MEMBERS] == pytest.approx(expected)


@given(st.integers(1, 6), st.integers(0, 10_000))
def test_exact_credits_of_each_user_sum_to_what_all_are_worth(n: int, seed: int) -> None:
    members = MEMBERS[:n]
    rewards = game(members, seed)
    found = shapley(members, rewards.__getitem__, seed=0)
    total = torch.stack([one.per_user for one in found.values()]).sum(0)
    worth = rewards[frozenset(members)] - rewards[frozenset()]
    assert torch.allclose(total, worth.to(torch.float64), atol=1e-6)
    assert all(one.low == one.mean == one.high for one in found.values())


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_sampled_credits_of_each_user_sum_to_what_all_are_worth(pairs: int, seed: int) -> None:
    rewards = game(MEMBERS[:7], seed, users=3)
    found = shapley(MEMBERS[:7], rewards.__getitem__, pairs=pairs, seed=seed)
    total = torch.stack([one.per_user for one in found.values()]).sum(0)
    worth = rewards[frozenset(MEMBERS[:7])] - rewards[frozenset()]
    assert torch.allclose(total, worth.to(torch.float64), atol=1e-6)


@pytest.mark.parametrize("sampled", [False, True])
def test_who_adds_nothing_gets_nothing(sampled: bool) -> None:
    def value(coalition: Coalition) -> float:
        return airport(coalition - {"h"})

    found = (
        sampled_shapley(antithetic_orders(MEMBERS, 4, seed=1), value)
        if sampled
        else exact_shapley(MEMBERS, value)
    )
    assert (found["h"].mean, found["h"].low, found["h"].high) == (0.0, 0.0, 0.0)


@given(st.integers(0, 10_000))
def test_two_that_can_be_exchanged_get_the_same(seed: int) -> None:
    rewards = game(("a", "b", "c", "twin"), seed)
    swapped = {"a": "twin", "twin": "a"}

    def value(coalition: Coalition) -> torch.Tensor:
        mirrored = frozenset(swapped.get(one, one) for one in coalition)
        return rewards[coalition] + rewards[mirrored]

    found = exact_shapley(("a", "b", "c", "twin"), value)
    assert torch.allclose(found["a"].per_user, found["twin"].per_user, atol=1e-6)


def test_the_credits_of_a_sum_of_rewards_are_sums_of_credits() -> None:
    one, other = game(MEMBERS[:4], 1), game(MEMBERS[:4], 2)
    both = exact_shapley(MEMBERS[:4], lambda c: one[c] + 3 * other[c])
    apart = [exact_shapley(MEMBERS[:4], rewards.__getitem__) for rewards in (one, other)]
    for member in MEMBERS[:4]:
        expected = apart[0][member].per_user + 3 * apart[1][member].per_user
        assert torch.allclose(both[member].per_user, expected, atol=1e-5)


def test_intervals_enclose_the_exact_value_about_as_often_as_promised() -> None:
    exact = exact_shapley(MEMBERS, airport)
    inside = []
    for seed in range(150):
        orders = antithetic_orders(MEMBERS, 12, seed=seed)
        found = sampled_shapley(orders, airport, level=0.9)
        inside += [c.low <= exact[m].mean <= c.high for m, c in found.items()]
    assert 0.82 < sum(inside) / len(inside) < 0.96


def test_an_order_and_its_reverse_tell_more_than_two_orders() -> None:
    exact = exact_shapley(MEMBERS, airport)

    def error(reverse: bool) -> float:
        wrong = []
        for seed in range(40):
            drawn = antithetic_orders(MEMBERS, 16, seed=seed)
            orders = drawn[:16] if reverse else drawn[::2]
            found = sampled_shapley(orders, airport)
            wrong += [(found[m].mean - exact[m].mean) ** 2 for m in MEMBERS]
        return math.fsum(wrong)

    assert error(reverse=True) < 0.8 * error(reverse=False)


def test_more_pairs_begin_with_the_same_orders_and_another_seed_with_others() -> None:
    few, many = (antithetic_orders(MEMBERS, pairs, seed=3) for pairs in (2, 5))
    assert many[:4] == few
    assert few[1] == few[0][::-1]
    assert antithetic_orders(MEMBERS, 2, seed=4) != few


@pytest.mark.parametrize("divide", [leave_one_out, exact_shapley])
def test_every_coalition_is_asked_for_once(
    divide: Callable[..., dict[str, credit.Credit]],
) -> None:
    asked: list[Coalition] = []

    def value(coalition: Coalition) -> float:
        asked.append(coalition)
        return float(len(coalition))

    found = divide(MEMBERS[:5], value)
    assert len(asked) == len(set(asked))
    assert all(one.mean == pytest.approx(1.0) for one in found.values())


def test_nobody_gets_anything_where_there_is_nobody() -> None:
    assert shapley((), airport, seed=0) == {}
    assert leave_one_out((), airport) == {}
    assert heads(()) == [frozenset()]


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 31, 500])
def test_quantiles_agree_with_scipys_students_t(freedom: int, level: float) -> None:
    theirs = stats.t.ppf(0.5 + level / 2, freedom)
    assert credit._student(freedom, level) == pytest.approx(theirs, rel=0.01)


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ValueError, match="named twice"):
        shapley(("a", "a"), airport, seed=0)
    with pytest.raises(ValueError, match="two pairs"):
        shapley(MEMBERS, airport, pairs=1, seed=0)
    with pytest.raises(ValueError, match="level"):
        shapley(MEMBERS, airport, level=1.0, seed=0)
