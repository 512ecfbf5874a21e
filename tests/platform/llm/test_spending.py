"""Caps hold before money is spent, and everything that was spent is booked."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.platform.errors import SettingsError
from agenticrs.platform.llm.port import OverBudget, Usage
from agenticrs.platform.llm.spending import Caps, Purse, Spent, Tariff

TARIFF = Tariff({"small": (1.0, 4.0), "large": (10.0, 40.0)})


def test_tokens_have_their_price_and_a_model_without_one_is_free_and_named() -> None:
    assert TARIFF.money("small", 500_000, 250_000) == 1.5
    assert TARIFF.money("unknown", 10**9, 10**9) == 0.0
    assert TARIFF.unpriced(["small", "unknown"]) == ("unknown",)


@pytest.mark.parametrize("price", [-1.0, math.nan, math.inf])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(SettingsError, match="small"):
        Tariff({"small": (1.0, price)})


@pytest.mark.parametrize(
    ("caps", "what"),
    [
        (Caps(tokens=1999), "tokens"),
        (Caps(money=0.0049), "money"),
        (Caps(seconds=0.5), "seconds"),
    ],
)
def test_a_question_whose_worst_case_breaks_a_cap_is_refused(caps: Caps, what: str) -> None:
    purse = Purse(caps, TARIFF)
    with pytest.raises(OverBudget, match=f"cap on {what}"):
        purse.check("small", 1000, 1000)
    assert not purse.affords("small", 1000, 1000)


def test_a_cap_that_is_just_reached_is_kept() -> None:
    purse = Purse(Caps(tokens=2000, money=0.005, seconds=1.0), TARIFF)
    assert purse.affords("small", 1000, 1000)
    assert not purse.affords("large", 1000, 1000)


def test_a_purse_goes_on_from_what_was_spent_before() -> None:
    before = Spent.of_note(Spent(600, 100, 0.25, 3.0, 2).as_note())
    purse = Purse(Caps(tokens=1000), TARIFF, before)
    assert purse.spent == Spent(600, 100, 0.25, 3.0, 2)
    assert purse.affords("small", 200, 100)
    assert not purse.affords("small", 200, 101)
    assert Spent.of_note({}) == Spent()


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3000)), max_size=20))
def test_questions_that_pass_never_break_the_caps(asked: list[tuple[int, int]]) -> None:
    purse = Purse(Caps(tokens=20_000, money=0.04), TARIFF)
    for tokens_in, tokens_out in asked:
        if purse.affords("small", tokens_in, tokens_out):
            purse.book("small", Usage(tokens_in, tokens_out, 1.0, 1))
    assert purse.spent.tokens <= 20_000
    assert purse.spent.money <= 0.04 + 1e-12
    assert purse.spent.seconds == purse.spent.calls


def test_a_price_of_nothing_is_a_price_and_the_warning_names_those_without() -> None:
    tariff = Tariff({"own": (0.0, 0.0)})
    names = tariff.unpriced(["own", "small", "large"])
    assert names == ("small", "large")
    assert "no price is known of small, large" in tariff.warning(names)
