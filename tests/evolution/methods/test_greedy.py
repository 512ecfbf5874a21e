from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agenticrs.evolution.methods.greedy import GreedySelection, OfPresentVersions
from agenticrs.evolution.methods.method import Candidate, Tried

AGENTS = ("a", "b", "c", "d")
NAMES = tuple(f"weight.{name}" for name in AGENTS)


def run(
    reward: Callable[[Mapping[str, Any]], float | None],
    most: int = 50,
    earlier: Mapping[str, Sequence[int]] = MappingProxyType({}),
    archived: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> list[Tried]:
    method = GreedySelection(AGENTS, {"fusion": "rrf"}, most, earlier, archived)
    tried = list[Tried]()
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


def test_earlier_versions_stand_in_or_join_once_nobody_present_helps() -> None:
    def reward(values: Mapping[str, Any]) -> float:
        worth: dict[str, float] = {"a": 0.5, "b": 0.3, "c": -0.1, "d": -0.1}
        better = {"version.a": {3: 0.1}, "version.c": {1: 0.3, 2: 0.2}}
        found: float = sum(worth[name] * values[f"weight.{name}"] for name in AGENTS)
        return found + sum(better[n].get(values[n], 0.0) for n in better if n in values)

    tried = run(reward, earlier={"a": (3, 1), "c": (2, 1), "unknown": (9,)})
    assert not any("version" in "".join(one.values) for one in tried[:9]), "the present ones first"
    assert [one.values["weight.a"] for one in tried[:4]] == [1, 0, 0, 0]
    best = max(tried, key=lambda one: one.reward or 0.0)
    assert best.note["members"] == ["a@3", "b", "c@1"]
    assert (best.values["version.a"], best.values["version.c"]) == (3, 1)
    sets = [frozenset(one.note["members"]) for one in tried]
    assert len(sets) == len(set(sets))


def test_a_candidate_that_became_no_version_may_join_as_a_trial() -> None:
    def reward(values: Mapping[str, Any]) -> float:
        worth: dict[str, float] = {"a": 0.5, "b": -0.1, "c": -0.1, "d": -0.1}
        better = {"version.a": {3: 0.1}, "trial.a": {345: 0.2}, "trial.b": {12: 0.3}}
        found: float = sum(worth[name] * values[f"weight.{name}"] for name in AGENTS)
        return found + sum(better[n].get(values[n], 0.0) for n in better if n in values)

    tried = run(reward, earlier={"a": (3,)}, archived={"a": (345,), "b": (12,)})
    best = max(tried, key=lambda one: one.reward or 0.0)
    assert best.note["members"] == ["a#345", "b#12"]
    assert (best.values["trial.a"], best.values["trial.b"]) == (345, 12)
    assert not any({"version.a", "trial.a"} <= set(one.values) for one in tried)


def test_other_methods_are_told_of_present_versions_alone() -> None:
    class Repeats:
        def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
            return [Candidate(one.values, "random") for one in tried]

    tried = [
        Tried(0, {"weight.a": 1.0, "version.a": 2}, "done", 0.9),
        Tried(1, {"weight.a": 1.0}, "open"),
        Tried(2, {"weight.a": 1.0, "trial.a": 7}, "done", 0.9),
    ]
    assert [one.values for one in OfPresentVersions(Repeats()).ask(tried, 5)] == [{"weight.a": 1.0}]


def test_a_candidate_that_failed_is_not_tried_again() -> None:
    tried = run(lambda values: None if values["weight.a"] else sum(values[n] for n in NAMES))
    sets = [tuple(one.note["members"]) for one in tried]
    assert len(sets) == len(set(sets))


def test_it_waits_for_open_candidates() -> None:
    method = GreedySelection(AGENTS, {}, 50)
    first = method.ask([], 4)
    rows = [Tried(n, c.values, "open", origin=c.origin, note=c.note) for n, c in enumerate(first)]
    assert method.ask(rows, 4) == []


@given(st.integers(0, 12), st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_it_never_draws_more_than_it_may(most: int, gains: list[float]) -> None:
    values = dict(zip(NAMES, gains, strict=True))
    assert len(run(lambda point: sum(values[n] * point[n] for n in NAMES), most)) <= most
