from __future__ import annotations

from typing import Any

import pytest

from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.methods.search import Search
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import Choice, FloatRange, IntRange, Limit, SearchMethod

SPACE = (
    FloatRange(name="x", low=0.0, high=1.0),
    IntRange(name="n", low=1, high=8),
    Choice(name="kind", values=("a", "b")),
)
METHODS: tuple[SearchMethod, ...] = ("tpe", "random", "gp", "cmaes", "nsga2")


def reward(values: Any) -> float:
    return float(
        -((values["x"] - 0.7) ** 2) - 0.05 * abs(values["n"] - 5) + (values["kind"] == "b")
    )


def run(search: Search, count: int, wave: int = 2) -> list[Tried]:
    """Candidates drawn in waves, all of them done."""
    tried: list[Tried] = []
    while len(tried) < count:
        for candidate in search.ask(tried, min(wave, count - len(tried))):
            found = reward(candidate.values)
            sizes = {"parameters": float(candidate.values["n"]), "coverage@10": 0.5}
            tried.append(Tried(len(tried), candidate.values, "done", found, metrics=sizes))
    return tried


@pytest.mark.parametrize("method", METHODS)
def test_the_same_trials_give_the_same_candidates(method: SearchMethod) -> None:
    search = Search(SPACE, method, seed=7, beside=("parameters",))
    tried = run(search, 12)
    again = Search(SPACE, method, seed=7, beside=("parameters",))
    for begun in range(4, 12, 4):
        expected = [point.values for point in tried[begun : begun + 2]]
        assert [c.values for c in again.ask(tried[:begun], 2)] == expected


@pytest.mark.parametrize("method", METHODS)
def test_candidates_lie_in_the_space(method: SearchMethod) -> None:
    for point in run(Search(SPACE, method, beside=("parameters",)), 12, wave=6):
        assert set(point.values) == {"x", "n", "kind"}
        assert 0 <= point.values["x"] <= 1
        assert point.values["n"] in range(1, 9)
        assert point.values["kind"] in ("a", "b")


@pytest.mark.parametrize("method", ["tpe", "cmaes"])
def test_what_was_tried_steers_what_comes_next(method: SearchMethod) -> None:
    late = [run(Search(SPACE, method, seed=seed), 30, wave=4)[16:] for seed in range(6)]
    blind = [run(Search(SPACE, "random", seed=seed), 30)[16:] for seed in range(6)]

    def mean(runs: list[list[Tried]]) -> float:
        rewards = [point.reward or 0.0 for points in runs for point in points]
        return sum(rewards) / len(rewards)

    assert mean(late) > mean(blind) + 0.1


def test_rewards_steer_after_the_startup_jointly_or_each_parameter_for_itself() -> None:
    def points(rewards: float, **how: Any) -> list[Any]:
        done = [
            Tried(n, {"x": n / 9, "n": 1 + n % 8, "kind": "ab"[n % 2]}, "done", rewards * n)
            for n in range(9)
        ]
        return [c.values for c in Search(SPACE, seed=3, **how).ask(done, 3)]

    assert points(1.0, startup=10) == points(-1.0, startup=10), "nothing is modelled yet"
    assert points(1.0) != points(-1.0)
    assert points(1.0, joint=False) != points(-1.0, joint=False)
    assert points(1.0, joint=False) != points(1.0)


def test_given_points_come_first_and_only_once() -> None:
    search = Search(SPACE, given=[{"x": 0.25, "n": 3, "kind": "b", "unknown": 1}] * 2)
    first, second = search.ask([], 2)
    assert (first.origin, first.values) == ("given", {"x": 0.25, "n": 3, "kind": "b"})
    assert second.origin == "tpe"
    (next_one,) = search.ask([Tried(0, first.values, "open")], 1)
    assert next_one.origin == "tpe"


def test_what_is_remembered_replaces_drawing_at_random() -> None:
    remembered = run(Search(SPACE, "random", seed=1), 30)
    warm = [run(Search(SPACE, seed=s, remembered=remembered), 4) for s in range(4)]
    cold = [run(Search(SPACE, seed=s), 4) for s in range(4)]
    best = [sum(max(p.reward or -9 for p in one) for one in many) for many in (warm, cold)]
    assert best[0] > best[1]


def test_candidates_of_another_space_are_left_out() -> None:
    foreign = [Tried(n, {"x": 0.1, "n": 99, "kind": "a"}, "done", 5.0) for n in range(5)]
    partial = [Tried(n, {"x": 0.1}, "done", 5.0) for n in range(5)]
    alone = Search(SPACE, seed=3).ask([], 3)
    assert Search(SPACE, seed=3, remembered=[*foreign, *partial]).ask([], 3) == alone


def test_pruned_failed_and_open_candidates_do_no_harm() -> None:
    tried = run(Search(SPACE), 6)
    states = ("pruned", "failed", "open")
    others = [Tried(6 + n, tried[n].values, s, rungs=(0.1,)) for n, s in enumerate(states)]  # type: ignore[arg-type]
    assert len(Search(SPACE).ask([*tried, *others], 3)) == 3


def test_a_limit_keeps_the_search_out_of_what_breaks_it() -> None:
    limited = Search(SPACE, seed=2, limits=(Limit(metric="parameters", most=3.0),))
    free = Search(SPACE, seed=2)
    small = sum(point.values["n"] <= 3 for point in run(limited, 30)[10:])
    assert small > sum(point.values["n"] <= 3 for point in run(free, 30)[10:])


@pytest.mark.parametrize("method", METHODS)
def test_candidates_of_which_a_constraint_is_not_known_do_no_harm(method: SearchMethod) -> None:
    limits = (Limit(metric="parameters", most=3.0), Limit(metric="latency_ms", most=5.0))
    search = Search(SPACE, method, beside=("parameters",), limits=limits)
    tried = run(search, 8)
    measured = [
        Tried(8 + n, t.values, "done", t.reward, metrics={**t.metrics, "latency_ms": 1.0})
        for n, t in enumerate(tried[:4])
    ]
    assert len(search.ask([*tried, *measured], 2)) == 2


def test_several_objectives_search_the_front_not_one_end() -> None:
    found = run(Search(SPACE, "nsga2", seed=5, beside=("parameters",)), 60, wave=6)
    late = [point for point in found[30:] if point.values["kind"] == "b"]
    assert len(late) > 15, "kind b is better at every size"
    assert min(point.values["n"] for point in late) <= 2, "small ones are on the front"


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(EvolutionError, match="empty"):
        Search(())
