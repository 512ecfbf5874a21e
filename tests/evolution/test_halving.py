from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agenticrs.evolution.halving import goes_on

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


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=40, unique=True))
def test_of_a_complete_rung_about_half_would_go_on(rung: list[float]) -> None:
    going = sum(goes_on(reward, [other for other in rung if other != reward]) for reward in rung)
    assert going == len(rung) // 2
