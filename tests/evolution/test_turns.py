from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.turns import FLOOR, Standing, Turn, order, rotation, standing


def done(*rewards: float) -> list[Tried]:
    return [Tried(n, {}, "done", reward) for n, reward in enumerate(rewards)]


def names(turns: list[Turn]) -> list[str]:
    return [turn.agent for turn in turns]


SOME = st.none() | st.floats(-1, 1)
POSITIVE = st.none() | st.floats(0, 100)
STANDINGS = st.lists(
    st.builds(Standing, st.uuids().map(str), SOME, POSITIVE, POSITIVE), min_size=1, max_size=12
)


@given(STANDINGS)
def test_everybody_gets_a_share_and_the_shares_are_the_whole_cycle(all_: list[Standing]) -> None:
    turns = order(all_)
    assert sorted(names(turns)) == sorted(one.agent for one in all_)
    assert math.isclose(math.fsum(turn.share for turn in turns), 1.0, rel_tol=1e-9)
    assert all(turn.share >= FLOOR / len(all_) * 0.999 for turn in turns)
    assert all(turn.agent in turn.reason for turn in turns)


@given(STANDINGS)
def test_who_has_no_history_comes_first_and_gets_an_even_share(all_: list[Standing]) -> None:
    turns, new = order(all_), [one.agent for one in all_ if one.new]
    assert names(turns)[: len(new)] == new
    assert all(turn.share == 1 / len(all_) for turn in turns[: len(new)])


def test_credit_gain_and_cost_decide_together() -> None:
    plain = Standing("plain", 0.1, 0.01, 5.0)
    owed = Standing("owed", 0.2, 0.01, 5.0)
    hopeful = Standing("hopeful", 0.1, 0.03, 5.0)
    cheap = Standing("cheap", 0.1, 0.01, 1.0)
    turns = order([plain, owed, hopeful, cheap])
    assert names(turns) == ["cheap", "hopeful", "owed", "plain"]
    parts = {turn.agent: (turn.share - FLOOR / 4) / (1 - FLOOR) for turn in turns}
    expected = {"cheap": 5 / 11, "hopeful": 3 / 11, "owed": 2 / 11, "plain": 1 / 11}
    assert parts == pytest.approx(expected)


def test_reasons_say_what_was_decided_by() -> None:
    turns = order(
        [
            Standing("good", 0.04, 0.02, 3.0),
            Standing("harmful", -0.01, 0.02, 3.0),
            Standing("outside", None, 0.02, 3.0),
            Standing("spent", 0.04, 0.0, 3.0),
            Standing("fresh"),
        ]
    )
    reasons = {turn.agent: turn.reason for turn in turns}
    assert "too little history" in reasons["fresh"]
    assert reasons["good"].endswith("100% of all that is expected")
    assert "credit +0.0400 and 2.00% expected gain for 3.0 s" in reasons["good"]
    assert "adds nothing" in reasons["harmful"]
    assert "does not serve" in reasons["outside"]
    assert "no gain is expected" in reasons["spent"]
    least = {turn.share for turn in turns if turn.agent in ("harmful", "outside", "spent")}
    assert least == {FLOOR / 5}


def test_where_nothing_is_expected_of_anybody_shares_are_even() -> None:
    turns = order([Standing("a", 0.0, 0.1, 1.0), Standing("b", 0.3, 0.0, 1.0)])
    assert [turn.share for turn in turns] == pytest.approx([0.5, 0.5])


def test_without_a_floor_only_worth_counts() -> None:
    turns = order([Standing("a", 0.1, 0.1, 1.0), Standing("b", -0.1, 0.1, 1.0)], floor=0.0)
    assert [(turn.agent, turn.share) for turn in turns] == [("a", 1.0), ("b", 0.0)]
    with pytest.raises(ValueError, match="floor"):
        order([Standing("a")], floor=1.5)


def test_a_search_that_still_varies_is_expected_to_gain_more() -> None:
    def gain(*rewards: float) -> float:
        found = standing("a", done(*rewards), credit=0.1, seconds=1.0).gain
        assert found is not None
        return found

    assert gain(0.30, 0.25, 0.35, 0.31) > gain(0.30, 0.295, 0.305, 0.301) > 0
    assert gain(0.3, 0.3, 0.3) == 0.0
    assert gain(3.0, 2.8, 3.1, 2.9) == pytest.approx(gain(0.30, 0.28, 0.31, 0.29))


def test_a_best_that_lies_long_ago_still_has_to_be_exceeded() -> None:
    recent = [0.20, 0.22, 0.21, 0.19, 0.20, 0.22, 0.21, 0.20]
    with_best = standing("a", done(0.5, *recent), credit=0.1, seconds=1.0)
    without = standing("a", done(*recent), credit=0.1, seconds=1.0)
    assert with_best.gain is not None
    assert without.gain is not None
    assert with_best.gain < 1e-6 < without.gain


def test_one_measured_candidate_is_no_history() -> None:
    failed = [Tried(1, {}, "failed"), Tried(2, {}, "open"), Tried(3, {}, "pruned", None, (0.1,))]
    found = standing("a", [*done(0.2), *failed], credit=0.1, seconds=2.0)
    assert found.new
    assert found.worth == 0.0
    assert not standing("a", done(0.2, 0.3), credit=0.1, seconds=2.0).new


def test_in_rotation_everybody_begins_once_with_even_shares() -> None:
    agents = ("a", "b", "c")
    turns = [rotation(agents, turn) for turn in range(4)]
    assert [names(one)[0] for one in turns] == ["a", "b", "c", "a"]
    assert names(turns[1]) == ["b", "c", "a"]
    assert {turn.share for one in turns for turn in one} == {1 / 3}
    assert "number 1 of 3" in turns[0][0].reason


def test_nobody_has_no_turns() -> None:
    assert order([]) == []
    assert rotation((), 3) == []
