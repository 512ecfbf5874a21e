"""Combinations of methods decide by what was tried alone, and spend where it pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.canonical import fingerprint
from agenticrs.evolution.methods.combination import (
    AlternateOnSaturation,
    BeginWith,
    ProposeThenSearch,
    SearchBest,
    StandIn,
    bracket_trials,
    structures_within,
)
from agenticrs.evolution.methods.method import Candidate, Method, Tried, Values
from agenticrs.evolution.methods.structures import OWN, grouped, structure_key
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import Limit

STRUCTURES = [documents.gru4rec(width=width) for width in range(8, 40)]


@dataclass(frozen=True)
class Lists:
    """Proposes structures of a list, one after the other; ``most`` of them."""

    most: int = len(STRUCTURES)

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        there = {structure_key(one.values) for one in tried}
        fresh = [s for s in STRUCTURES[: self.most] if fingerprint(s) not in there]
        return [
            Candidate({"structure": s.model_dump(mode="json"), "x": 0.0}, "mutation")
            for s in fresh[:n]
        ]


@dataclass(frozen=True)
class Counting:
    """A search whose next point is how many it knows; it never sees a structure."""

    most: int = 100

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        assert all("structure" not in one.values for one in tried)
        known = len(tried)
        return [Candidate({"x": float(known + i)}, "tpe") for i in range(n)][: self.most - known]


def width(values: Values) -> int:
    return int(values["structure"]["blocks"][0]["width"])


def reward(values: Values) -> float:
    return width(values) + 0.1 * float(values["x"])


def run(
    method: Method,
    count: int,
    wave: int = 2,
    rewards: Callable[[Values], float] = reward,
    tried: Sequence[Tried] = (),
) -> list[Tried]:
    """Candidates drawn in waves, all of them done."""
    rows = list(tried)
    while len(rows) < count:
        drawn = method.ask(rows, min(wave, count - len(rows)))
        if not drawn:
            break
        for one in drawn:
            found = rewards(one.values)
            rows.append(
                Tried(len(rows), one.values, "done", found, origin=one.origin, note=one.note)
            )
    return rows


def searched(**fields: Any) -> ProposeThenSearch:
    return ProposeThenSearch(Lists(), lambda values: Counting(), **fields)


@pytest.mark.parametrize("wave", [1, 2, 3, 8])
def test_the_better_half_of_the_structures_gets_searched_and_so_on(wave: int) -> None:
    tried = run(searched(structures=4, recipes=2), bracket_trials(4), wave)
    counts = {width(rows[0].values): len(rows) for rows in grouped(tried).values()}
    # Widths are rewards: 10 and 11 are the better half, 11 the best.
    assert counts == {8: 1, 9: 1, 10: 3, 11: 7}
    assert [one.note["rung"] for one in tried] == [0] * 4 + [1] * 4 + [2] * 4
    assert {one.origin for one in tried} == {"mutation", "tpe"}


def test_a_draft_that_came_to_nothing_takes_no_place_of_a_structure() -> None:
    useless = [Tried(0, {}, "failed", origin="llm:small", error="draft: unfit")]
    tried = run(searched(structures=2), 1 + bracket_trials(2), wave=1, tried=useless)
    assert [width(one.values) for one in tried[1:]] == [8, 9, 9, 9]


def test_the_next_bracket_begins_when_one_is_left() -> None:
    size = bracket_trials(2)
    tried = run(searched(structures=2), size + 2)
    assert [one.note["rung"] for one in tried[size:]] == [0, 0]
    assert [width(one.values) for one in tried[size:]] == [10, 11]


def test_a_searched_recipe_says_which_structure_it_belongs_to() -> None:
    tried = run(searched(structures=2), bracket_trials(2))
    for one in tried[2:]:
        assert one.note["fingerprint"] == structure_key(one.values)
        assert tried[one.note["parent"]].values["structure"] == one.values["structure"]


@settings(max_examples=6, deadline=None)
@given(
    structures=st.integers(1, 6),
    recipes=st.integers(1, 3),
    eta=st.integers(2, 3),
    cut=st.integers(0, 18),
)
def test_a_search_that_was_cut_off_goes_on_as_if_it_was_not(
    structures: int, recipes: int, eta: int, cut: int
) -> None:
    method = searched(structures=structures, recipes=recipes, eta=eta)
    whole = run(method, 18, wave=1)
    again = run(searched(structures=structures, recipes=recipes, eta=eta), 18, 1, tried=whole[:cut])
    assert again == whole


@pytest.mark.parametrize("structures", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("eta", [2, 3])
def test_a_bracket_costs_what_is_said(structures: int, eta: int) -> None:
    size = bracket_trials(structures, 2, eta)
    tried = run(searched(structures=structures, eta=eta), size + 1, wave=1)
    begins = [one.number for one in tried if one.note["rung"] == 0]
    assert begins == [*range(structures), size]
    assert structures_within(size, 2, eta) >= structures
    assert bracket_trials(structures_within(size, 2, eta), 2, eta) <= size


def test_it_waits_for_open_candidates_that_decide_who_goes_on() -> None:
    method = searched(structures=2)
    first, second = method.ask([], 5)
    done = Tried(0, first.values, "done", 1.0, note=first.note)
    assert method.ask([done, Tried(1, second.values, "open", note=second.note)], 2) == []
    failed = Tried(1, second.values, "failed", note=second.note)
    assert [structure_key(c.values) for c in method.ask([done, failed], 2)] == [
        structure_key(first.values)
    ] * 2


def test_one_that_was_stopped_early_stands_behind_all_that_are_done() -> None:
    method = searched(structures=2)
    first, second = method.ask([], 2)
    tried = [
        Tried(0, first.values, "pruned", rungs=(9.0,), note=first.note),
        Tried(1, second.values, "done", 0.1, note=second.note),
    ]
    (after,) = method.ask(tried, 1)
    assert structure_key(after.values) == structure_key(second.values)


def test_when_all_structures_of_a_bracket_fail_others_are_proposed() -> None:
    method = searched(structures=2)
    tried = [Tried(i, c.values, "failed", note=c.note) for i, c in enumerate(method.ask([], 2))]
    after = method.ask(tried, 2)
    assert [width(one.values) for one in after] == [10, 11]


def test_it_ends_when_neither_the_proposer_nor_the_searches_have_more() -> None:
    method = ProposeThenSearch(Lists(3), lambda values: Counting(2), structures=4)
    tried = run(method, 50)
    assert len(grouped(tried)) == 3
    assert len(tried) < 10
    assert method.ask(tried, 3) == []


def test_a_proposer_that_repeats_itself_does_not_hang() -> None:
    class Same:
        def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
            return [Candidate({"structure": STRUCTURES[0].model_dump(mode="json")}, "mutation")] * n

    method = ProposeThenSearch(Same(), lambda values: Counting(0), structures=3)
    assert len(method.ask([], 5)) == 1


@pytest.mark.parametrize("fields", [{"structures": 0}, {"recipes": 0}, {"eta": 1}])
def test_what_cannot_be_halved_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(EvolutionError, match="at least"):
        searched(**fields)


def test_the_best_structure_is_searched_and_the_own_one_before_any_is_done() -> None:
    asked: list[str] = []

    def search_for(values: Values) -> Method:
        asked.append(structure_key(values))
        return Counting()

    method = SearchBest(search_for)
    (begins,) = method.ask([], 1)
    assert "structure" not in begins.values
    brought = {"structure": STRUCTURES[0].model_dump(mode="json"), "x": 4.0, "length": 9}
    tried = [Tried(0, {"x": 1.0}, "done", 0.1), Tried(1, brought, "done", 0.5)]
    (after,) = method.ask(tried, 1)
    assert after.values == {**brought, "x": 1.0}
    assert after.note["parent"] == 1
    assert asked == [OWN, fingerprint(STRUCTURES[0])]


def test_a_structure_that_breaks_a_limit_is_not_gone_on_with() -> None:
    heavy, light = ({"structure": one.model_dump(mode="json"), "x": 1.0} for one in STRUCTURES[:2])
    tried = [
        Tried(0, heavy, "done", 0.9, metrics={"parameters": 2e6}),
        Tried(1, light, "done", 0.5, metrics={"parameters": 1e3}),
    ]
    for limits, parent in (((), 0), ((Limit(metric="parameters", most=1e6),), 1)):
        (best,) = SearchBest(lambda values: Counting(), limits).ask(tried, 1)
        assert best.note["parent"] == parent
        (standing,) = searched(structures=2, limits=limits).ask(tried, 1)
        assert standing.note["parent"] == parent


def test_earlier_structures_come_first_and_once_then_the_method() -> None:
    brought = {"structure": STRUCTURES[0].model_dump(mode="json"), "x": 4.0}
    method = BeginWith([Candidate(brought, "given"), Candidate({"x": 4.0}, "given")], Named("a"))
    first, second, third = method.ask([], 3)
    assert (first.values, second.values) == (brought, {"x": 4.0})
    assert third.values == {"who": "a"}
    own = Tried(0, {"x": 4.0, "length": 9, "who": "?"}, "done", 0.1)
    (left, _) = method.ask([own], 2)
    assert left.values == brought, "the same settings without the structure are another point"
    (after,) = method.ask([own, Tried(1, {**brought, "who": "?"}, "failed")], 1)
    assert after.values == {"who": "a"}, "one that failed is not tried again"


@dataclass(frozen=True)
class Named:
    """Proposes points that carry a name; at most ``most``."""

    name: str
    most: int = 1000

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        mine = sum(one.values["who"] == self.name for one in tried)
        return [Candidate({"who": self.name}, "random")] * min(n, self.most - mine)


def in_turns(rewards: Sequence[float], window: int = 3) -> list[str]:
    method = AlternateOnSaturation(Named("a"), Named("b"), ("a", "b"), window=window)
    tried: list[Tried] = []
    for found in rewards:
        (drawn,) = method.ask(tried, 1)
        tried.append(Tried(len(tried), drawn.values, "done", found, note=drawn.note))
    return [one.values["who"] for one in tried]


def test_a_method_keeps_its_turn_while_it_gains() -> None:
    assert in_turns([0.1 * n for n in range(1, 11)]) == ["a"] * 10


def test_turns_go_both_ways_when_a_method_is_saturated() -> None:
    rewards = [0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
    #          a brings 0.2 and then nothing for three; b brings 0.3 once; back to a
    assert "".join(in_turns(rewards)) == "aaaaabbbbaa"


def test_a_gain_that_is_smaller_than_noise_does_not_keep_the_turn() -> None:
    rewards = [0.2, 0.2001, 0.2002, 0.2003, 0.2004]
    assert in_turns(rewards) == ["a", "a", "a", "a", "b"]


def test_the_note_says_whose_turn_it_is_and_why() -> None:
    method = AlternateOnSaturation(Named("a"), Named("b"), names=("search", "structures"), window=2)
    tried = [Tried(n, {"who": "a"}, "done", 0.5) for n in range(3)]
    (drawn,) = method.ask(tried, 1)
    assert drawn.note["turn"] == "structures"
    assert "search is saturated: no gain" in drawn.note["turn_reason"]
    (first,) = method.ask([], 1)
    assert first.note == {"turn": "search", "turn_reason": "search begins"}


def test_one_that_has_nothing_more_passes_its_turn() -> None:
    method = AlternateOnSaturation(Named("a", 2), Named("b"), ("a", "b"), window=9)
    tried = [Tried(n, {"who": "a"}, "done", n + 1.0) for n in range(2)]
    (drawn,) = method.ask(tried, 1)
    assert drawn.values["who"] == "b"
    assert drawn.note["turn_reason"] == "a has nothing more to try"


def test_of_several_methods_each_has_its_turn_and_the_first_follows_the_last() -> None:
    method = AlternateOnSaturation(
        Named("a", 2), Named("b"), ("a", "b", "c"), window=3, others=(Named("c"),)
    )
    tried: list[Tried] = []
    for _ in range(12):
        (drawn,) = method.ask(tried, 1)
        tried.append(Tried(len(tried), drawn.values, "done", 0.5, note=drawn.note))
    # Equal rewards saturate at once after four; a, which has no more, passes its turn to b.
    assert "".join(one.values["who"] for one in tried) == "aabbbbbcccbb"
    assert tried[-1].note["turn"] == "b"


@given(
    rewards=st.lists(st.floats(0, 1), max_size=30),
    states=st.lists(st.sampled_from(["done", "failed", "pruned", "open"]), min_size=30),
)
def test_whose_turn_it_is_depends_on_closed_candidates_only(
    rewards: list[float], states: list[Any]
) -> None:
    tried = [
        Tried(n, {}, state, found if state == "done" else None)
        for n, (found, state) in enumerate(zip(rewards, states, strict=False))
    ]
    method = AlternateOnSaturation(Named("a"), Named("b"), window=3)
    closed = [one for one in tried if one.state != "open"]
    assert method.turn(tried) == method.turn(closed)


@dataclass(frozen=True)
class Rounds:
    """Draws two, and then waits until both are done; three rounds."""

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        mine = [one for one in tried if one.values["who"] == "a"]
        if len(mine) >= 6 or (len(mine) % 2 == 0 and any(one.state == "open" for one in mine)):
            return []
        return [Candidate({"who": "a"}, "random")] * min(n, 2 - len(mine) % 2)


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_who_waits_for_open_candidates_keeps_the_turn_however_many_are_asked_for(
    at_once: int,
) -> None:
    method = AlternateOnSaturation(Rounds(), Named("b"), ("a", "b"), window=99)
    waves: list[str] = []
    tried: list[Tried] = []
    for _ in range(4):
        wave: list[Tried] = []
        while len(wave) < 5:
            drawn = method.ask([*tried, *wave], min(at_once, 5 - len(wave)))
            if not drawn:
                break
            first = len(tried) + len(wave)
            wave += [Tried(first + i, c.values, "open", note=c.note) for i, c in enumerate(drawn)]
        waves.append("".join(one.values["who"] for one in wave))
        tried += [replace(one, state="done", reward=one.number + 1.0) for one in wave]
    assert waves == ["aa", "aa", "aa", "bbbbb"]
    assert {one.note["turn_reason"] for one in wave} == {"a has nothing more to try"}


def test_nobody_draws_when_each_of_them_had_a_turn_without_a_gain() -> None:
    method = AlternateOnSaturation(Named("a"), Named("b"), ("a", "b"), window=3)
    tried = run(method, 200, wave=1, rewards=lambda values: 0.5)
    # The first turn finds the best reward at all; the two that follow find nothing better.
    assert "".join(one.values["who"] for one in tried) == "aaaa" + "bbb" + "aaa"
    assert method.ended(tried).startswith("a and b had turns without a gain; a is saturated")
    assert method.ended(tried[:-1]) == ""
    better = [*tried[:-1], Tried(len(tried), {"who": "a"}, "done", 0.9)]
    assert method.ask(better, 1), "a gain in time, and both go on"
    inside = BeginWith([], method)
    assert inside.ended(tried) == method.ended(tried)


def test_a_draft_that_came_to_nothing_ends_no_turn() -> None:
    method = AlternateOnSaturation(Named("a"), Named("b"), ("a", "b"), window=3)
    tried = [Tried(0, {"who": "a"}, "done", 0.5)]
    tried += [Tried(n, {}, "failed", origin="llm:small") for n in range(1, 9)]
    assert method.turn(tried) == (0, "a begins")


def test_no_bracket_follows_one_that_brought_no_gain() -> None:
    method = searched(structures=2)
    tried = run(method, 200, rewards=lambda values: 0.5)
    assert len(tried) < 200
    assert len(grouped(tried)) % 2 == 0, "the last bracket went on to its end"
    assert "no gain" in method.ended(tried)
    assert len(run(method, 60)) == 60, "wider ones are better without end"


def test_another_method_stands_in_and_says_for_whom() -> None:
    (first,) = StandIn(Named("a"), Named("b"), "llm").ask([], 1)
    assert (first.values["who"], "instead_of" in first.note) == ("a", False)
    (second,) = StandIn(Lists(most=0), Named("b"), "llm").ask([], 1)
    assert (second.values["who"], second.note["instead_of"]) == ("b", "llm")
