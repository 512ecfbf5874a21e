from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.evolution.candidates.halving import RECENT, goes_on

rewards = st.lists(st.floats(-1, 1), max_size=30)


def test_nobody_is_stopped_before_there_is_an_order() -> None:
    assert goes_on(0.0, [])
    assert goes_on(0.0, [1.0])


def test_the_worse_half_stops() -> None:
    assert not goes_on(0.1, [0.2, 0.3, 0.4])
    assert goes_on(0.35, [0.2, 0.3, 0.4])


@given(rewards, st.integers(2, 4))
def test_the_best_always_goes_on_and_a_better_one_whenever_a_worse_one_does(
    others: list[float], eta: int
) -> None:
    assert goes_on(2.0, others, eta)
    if goes_on(0.0, others, eta):
        assert goes_on(0.5, others, eta)


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=RECENT + 1, unique=True))
def test_of_a_complete_rung_about_half_would_go_on(rung: list[float]) -> None:
    going = sum(goes_on(reward, [other for other in rung if other != reward]) for reward in rung)
    assert going == len(rung) // 2


def test_of_a_search_that_gets_better_about_half_go_on_too() -> None:
    drawn = np.random.default_rng(0)
    rewards = (0.002 * np.arange(200) + 0.02 * drawn.normal(size=200)).tolist()
    on = [goes_on(reward, rewards[:place]) for place, reward in enumerate(rewards)]
    assert 0.4 < sum(on) / len(on) < 0.7
    half = [r > np.median(rewards[: n + 1]) for n, r in enumerate(rewards)]
    assert sum(half) / len(half) > 0.9, "of all so far nearly every one is in the better half"


def test_the_latest_do_not_lower_the_bar() -> None:
    good, bad = [0.5, 0.6, 0.7, 0.8] * 10, [0.0] * RECENT
    assert not goes_on(0.1, [*good, *bad])
