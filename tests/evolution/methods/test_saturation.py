"""A search stops when it has nothing more to give, and says how that shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.methods.saturation import expected_gain, saturated


def done(rewards: Sequence[float]) -> list[Tried]:
    return [Tried(number, {}, "done", reward) for number, reward in enumerate(rewards)]


def test_a_plateau_saturates_and_its_reason_says_so() -> None:
    found = saturated(done([0.1, 0.2, *[0.15] * 4]), window=4)
    assert found is not None
    assert (
        found.reason
        == "no gain of more than 0.5% of the best reward, 0.2000, in the last 4 candidates"
    )


def test_a_recent_gain_does_not_saturate() -> None:
    assert saturated(done([0.1, 0.2, 0.15, 0.15, 0.15, 0.25]), window=4) is None


@given(rewards=st.lists(st.floats(0.01, 1), max_size=7))
def test_fewer_candidates_than_the_window_never_saturate(rewards: list[float]) -> None:
    assert saturated(done(rewards), window=8, left=0) is None


def test_open_candidates_do_not_count() -> None:
    tried = [*done([0.2, 0.1, 0.1]), Tried(3, {}, "open"), Tried(4, {}, "open")]
    assert saturated(tried, window=3) is None
    assert saturated([*tried[:3], Tried(3, {}, "pruned", rungs=(0.1,))], window=3) is not None


def test_a_search_in_which_everything_fails_is_saturated() -> None:
    found = saturated([Tried(n, {}, "failed") for n in range(5)], window=5)
    assert found is not None
    assert "none of 5 candidates" in found.reason


def test_it_stops_when_what_is_left_is_expected_to_gain_nothing() -> None:
    rewards = [0.1, 0.3, *[0.1001, 0.1, 0.0999, 0.1002]]
    growing = [0.1, *rewards[2:], 0.3]  # no plateau yet: the best is the newest
    assert saturated(done(growing), window=5) is None
    assert saturated(done([*growing, 0.31]), window=3, left=1000) is None
    steady = [0.1, 0.3, 0.3021, 0.302, 0.3019, 0.3021]
    found = saturated(done(steady), window=4, left=2)
    assert found is not None
    assert "the 2 candidates that are left" in found.reason


def test_the_expected_gain_is_that_of_a_normal_variable() -> None:
    rng = np.random.default_rng(0)
    last = done([0.0, 1.0, 2.0, 3.0])
    draws = rng.normal(1.5, np.std([0.0, 1.0, 2.0, 3.0]), 400_000)
    assert expected_gain(last, 2.5) == pytest.approx(np.maximum(draws - 2.5, 0).mean(), rel=0.02)
    half = [*last, *(Tried(9 + n, {}, "failed") for n in range(4))]
    assert expected_gain(half, 2.5) == pytest.approx(expected_gain(last, 2.5) / 2)
    assert expected_gain(done([1.0, 1.0]), 1.0) == 0.0
    assert expected_gain([], 1.0) == 0.0


@given(rewards=st.lists(st.floats(0.01, 1), min_size=4, max_size=20), left=st.integers(0, 100))
def test_more_that_is_left_never_makes_a_search_stop(rewards: list[float], left: int) -> None:
    if saturated(done(rewards), window=4, left=left) is None:
        assert saturated(done(rewards), window=4, left=left + 10) is None
