"""Which kind of cycle comes next: a table of what came before, and of what the world did."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agenticrs.evolution.alternation import Ended, Record, choose

HERE, ELSEWHERE = "snapshot and agents", "other ones"
WAITS = "proposal 7 (New composition: +ease) waits for a person"


def gain(cycle: int, lift: float | None = 0.03) -> Ended:
    return Ended(cycle, "individual", brought=True, lift=lift, world=HERE)


def idle(cycle: int, world: str = HERE) -> Ended:
    return Ended(cycle, "individual", brought=False, world=world)


def no_graph(cycle: int, world: str = HERE) -> Ended:
    return Ended(cycle, "compositional", brought=False, world=world)


def record(*ended: Ended, **others: Any) -> Record:
    return Record(**{"serves": True, "world": HERE, "ended": ended, **others})


@pytest.mark.parametrize(
    ("found", "kind", "why"),
    [
        (record(serves=False), "bootstrap", "nothing serves"),
        (record(serves=False, waiting=WAITS), None, "proposal 7"),
        (record(), "individual", "the graph is new"),
        (record(gain(2)), "individual", r"cycle 2 brought \+3.0%"),
        (record(gain(2, None)), "individual", "cycle 2 brought first versions"),
        (record(idle(2)), "individual", "1 of 2 individual cycles in a row"),
        (record(idle(2), gain(3), idle(4)), "individual", "1 of 2"),
        (record(gain(2), idle(3), idle(4)), "compositional", "cycles 3, 4 brought nothing"),
        # New rows alone do not make agents fresh: only what they bring does.
        (record(idle(2, ELSEWHERE), idle(3)), "compositional", "saturated"),
        (record(idle(2), idle(3), no_graph(4)), "individual", "cycle 4 left the graph"),
        (record(idle(2), idle(3), no_graph(4), idle(5)), "individual", "1 of 2"),
        (
            record(idle(2), idle(3), no_graph(4), idle(5), idle(6)),
            None,
            "compositional cycle 4, and neither data nor agents have changed",
        ),
        (
            record(idle(2), idle(3), no_graph(4, ELSEWHERE), idle(5), idle(6)),
            "compositional",
            "saturated",
        ),
        (
            record(no_graph(4), gain(5), idle(6), idle(7)),
            "compositional",
            "cycles 6, 7 brought nothing",
        ),
        (record(trigger="items have drifted"), "compositional", "first: items have drifted$"),
        (record(gain(2), trigger="weights"), "compositional", "first: weights"),
        (record(idle(2), waiting=WAITS), None, "proposal 7 .* waits for a person"),
        (record(gain(2), waiting="canary 3 is under way"), None, "canary 3 is under way"),
        # A proposal from before the trigger must not hold up the answer to it.
        (record(waiting=WAITS, trigger="items"), "compositional", "items; proposal 7 .* before"),
    ],
)
def test_the_next_kind_and_why(found: Record, kind: str | None, why: str) -> None:
    choice = choose(found, patience=2)
    assert choice.kind == kind
    assert re.search(why, choice.reason), choice.reason
    assert bool(choice.hint) == (kind is None), "who gets no cycle is told what to do"


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_saturation_is_as_many_cycles_in_a_row_as_the_setting_says(patience: int) -> None:
    found = [idle(number) for number in range(patience)]
    assert choose(record(*found[1:]), patience).kind == "individual"
    assert choose(record(*found), patience).kind == "compositional"


def test_a_world_that_stands_still_is_paid_for_no_longer_than_twice_the_patience() -> None:
    """Whatever is chosen brings nothing: after a bounded number of cycles none comes."""
    ended: list[Ended] = []
    while (choice := choose(record(*ended), 2)).kind is not None:
        ended.append((idle if choice.kind == "individual" else no_graph)(len(ended)))
        assert len(ended) <= 2 * 2 + 1
    assert [one.kind for one in ended].count("compositional") == 1
