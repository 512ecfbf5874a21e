from __future__ import annotations

from typing import Any

import pytest

from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.methods.search import Search
from agenticrs.evolution.methods.transfer import transferred
from agenticrs.registry.spec import Choice, FloatRange

SPACE = (FloatRange(name="x", low=0.0, high=1.0), Choice(name="kind", values=("a", "b")))


def done(number: int, reward: float, **values: Any) -> Tried:
    return Tried(number, values, "done", reward)


PAST = [done(0, 0.2, x=0.1, kind="a", other=1), done(1, 0.6, x=0.7, kind="b", other=2)]


def test_the_best_point_says_what_the_others_would_be_worth_here() -> None:
    here = [done(0, 0.3, x=0.7, kind="b", other=5)]
    found = transferred([PAST], SPACE, here)
    assert [one.reward for one in found] == pytest.approx([0.1, 0.3])
    assert [one.values for one in found] == [one.values for one in PAST]


def test_several_points_on_both_sides_are_taken_together() -> None:
    here = [done(0, 0.3, x=0.7, kind="b"), done(1, 0.1, x=0.1, kind="a")]
    rewards = [one.reward for one in transferred([PAST], SPACE, here)]
    assert rewards == pytest.approx([0.2 * 0.5, 0.6 * 0.5])


@pytest.mark.parametrize(
    "here",
    [
        [],
        [done(0, 0.3, x=0.71, kind="b")],
        [Tried(0, {"x": 0.7, "kind": "b"}, "pruned", rungs=(0.2,))],
        [done(0, 0.0, x=0.7, kind="b")],
        [done(0, 0.3, kind="b")],
    ],
    ids=["nothing", "another point", "stopped", "worth nothing", "a parameter lacks"],
)
def test_a_past_without_a_point_on_both_sides_says_nothing(here: list[Tried]) -> None:
    assert transferred([PAST], SPACE, here) == []


def test_each_dataset_has_a_scale_of_its_own() -> None:
    other = [done(0, 10.0, x=0.5, kind="a"), done(1, 40.0, x=0.6, kind="a")]
    here = [done(0, 0.3, x=0.7, kind="b"), done(1, 0.2, x=0.6, kind="a")]
    rewards = [one.reward for one in transferred([PAST, other], SPACE, here)]
    assert rewards == pytest.approx([0.1, 0.3, 0.05, 0.2])


def test_a_search_goes_on_where_another_data_set_was_searched() -> None:
    def reward(values: Any) -> float:
        return float(1.0 - abs(values["x"] - 0.3) - 0.5 * (values["kind"] == "a"))

    def run(search: Search, count: int, scale: float) -> list[Tried]:
        tried: list[Tried] = []
        while len(tried) < count:
            (drawn,) = search.ask(tried, 1)
            tried.append(done(len(tried), scale * reward(drawn.values), **drawn.values))
        return tried

    gains = []
    for seed in range(6):
        past = run(Search(SPACE, "random", seed=100 + seed), 25, scale=7.0)
        best = max(past, key=lambda one: one.reward or 0.0).values
        warm = run(Search(SPACE, seed=seed, given=[best], elsewhere=[past]), 5, scale=0.1)
        only_best = run(Search(SPACE, seed=seed, given=[best]), 5, scale=0.1)
        gains.append(
            sum(reward(w.values) - reward(o.values) for w, o in zip(warm, only_best, strict=True))
        )
    assert sum(gains) / len(gains) > 0.3, gains
