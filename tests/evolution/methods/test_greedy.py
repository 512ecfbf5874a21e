from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agenticrs.evolution.methods.greedy import GreedySelection
from agenticrs.evolution.methods.method import Tried

NAMES = ("weight.a", "weight.b", "weight.c", "weight.d")


def run(reward: Callable[[Mapping[str, Any]], float | None], most: int = 50) -> list[Tried]:
    method, tried = GreedySelection(NAMES, {"fusion": "rrf"}, most), list[Tried]()
    while drawn := method.ask(tried, 3):
        for one in drawn:
            found = reward(one.values)
            state: Any = "failed" if found is None else "done"
            tried.append(
                Tried(len(tried), one.values, state, found, origin=one.origin, note=one.note)
            )
    return tried


def test_it_begins_with_each_alone_and_adds_whoever_helps_most() -> None:
    gains = {"weight.a": 0.5, "weight.b": 0.3, "weight.c": 0.1, "weight.d": -0.2}
    tried = run(lambda values: sum(gains[n] * values[n] for n in NAMES))
    sizes = [sum(one.values[n] for n in NAMES) for one in tried]
    assert sizes == [1] * 4 + [2] * 3 + [3] * 2 + [4]
    best = max(tried, key=lambda one: one.reward or 0.0)
    assert {n for n in NAMES if best.values[n]} == {"weight.a", "weight.b", "weight.c"}
    assert all(one.values["fusion"] == "rrf" for one in tried)


def test_it_ends_when_nobody_helps() -> None:
    tried = run(lambda values: 1.0 / sum(values[n] for n in NAMES))
    assert len(tried) == 4 + 3


def test_a_candidate_that_failed_is_not_tried_again() -> None:
    tried = run(lambda values: None if values["weight.a"] else sum(values[n] for n in NAMES))
    sets = [tuple(one.note["members"]) for one in tried]
    assert len(sets) == len(set(sets))


def test_it_waits_for_open_candidates() -> None:
    method = GreedySelection(NAMES, {}, 50)
    first = method.ask([], 4)
    rows = [Tried(n, c.values, "open", origin=c.origin, note=c.note) for n, c in enumerate(first)]
    assert method.ask(rows, 4) == []


@given(st.integers(0, 12), st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_it_never_draws_more_than_it_may(most: int, gains: list[float]) -> None:
    values = dict(zip(NAMES, gains, strict=True))
    assert len(run(lambda point: sum(values[n] * point[n] for n in NAMES), most)) <= most
