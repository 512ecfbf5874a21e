"""Mutation and crossover as a method: new structures out of what did well, and honest about it."""

from __future__ import annotations

from typing import Any

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.canonical import fingerprint
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.network import count_weights
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.variation import Limits
from agenticrs.evolution.methods.archive import Layout, lineage
from agenticrs.evolution.methods.method import Tried, Values
from agenticrs.evolution.methods.variation import StructuralVariation

KNOWN = {
    "sasrec": documents.sasrec(width=16),
    "gru4rec": documents.gru4rec(width=16),
    "lightgcn": documents.lightgcn(width=16),
}
RECIPE = ("learning_rate", "epochs")


def own(values: Values) -> Architecture:
    """The agent's own document with these settings."""
    return documents.sasrec(width=int(values.get("embedding_size", 16)))


def method(**fields: Any) -> StructuralVariation:
    return StructuralVariation(own, KNOWN, RECIPE, **fields)


def structure_of(values: Values) -> Architecture:
    return Architecture.model_validate(values["structure"])


def reward(values: Values) -> float:
    """The more convolutions, the better; long documents are a little worse."""
    blocks = structure_of(values).blocks
    return sum(block.block == "convolution" for block in blocks) - 0.01 * len(blocks)


def run(searched: StructuralVariation, count: int, wave: int = 4) -> list[Tried]:
    tried: list[Tried] = []
    while len(tried) < count:
        for drawn in searched.ask(tried, wave):
            size = float(count_weights(structure_of(drawn.values), 100, 100))
            metrics = {"parameters": size, "coverage@10": 0.2}
            one = Tried(
                len(tried),
                {**drawn.values, "learning_rate": 0.01 * (1 + len(tried))},
                "done",
                reward(drawn.values),
                origin=drawn.origin,
                metrics=metrics,
                note=drawn.note,
            )
            tried.append(one)
    return tried


def test_structures_get_better_by_selection() -> None:
    tried = run(method(seed=3), 32)
    first, last = ([one.reward or 0 for one in part] for part in (tried[:10], tried[-10:]))
    assert sum(last) / 10 > sum(first) / 10 + 0.5
    assert max(last) > max(first)


def test_the_same_trials_give_the_same_candidates() -> None:
    tried = run(method(seed=3), 16)
    for so_far in (0, 4, 8, 12):
        again = method(seed=3).ask(tried[:so_far], 4)
        assert [c.note for c in again] == [one.note for one in tried[so_far : so_far + 4]]
        assert [c.values["structure"] for c in again] == [
            one.values["structure"] for one in tried[so_far : so_far + 4]
        ]
    assert method(seed=4).ask([], 4) != method(seed=3).ask([], 4)


def test_every_candidate_says_truly_where_it_comes_from() -> None:
    tried = run(method(seed=5), 40)
    origins = {one.origin for one in tried}
    assert origins == {"mutation", "crossover"}
    for one in tried:
        assert one.note["fingerprint"] == fingerprint(structure_of(one.values))
        assert one.note["difference"]
        assert one.note["island"] in range(3)
        assert len(one.note["from"]) == (2 if one.origin == "crossover" else 1)
        for said in one.note["from"]:
            assert said in KNOWN or tried[int(said[1:])].number < one.number
    assert max(len(lineage(tried, one.number)) for one in tried) > 2


def test_a_structure_is_not_crossed_with_itself() -> None:
    alone = StructuralVariation(own, {"sasrec": KNOWN["sasrec"]}, crossover=1.0)
    assert {c.origin for c in alone.ask([], 4)} == {"mutation"}
    crossed = [one for one in run(method(seed=8, crossover=1.0), 8) if one.origin == "crossover"]
    assert crossed
    assert all(len(set(one.note["from"])) == 2 for one in crossed)


def test_no_structure_is_drawn_twice() -> None:
    tried = run(method(seed=6), 40)
    prints = [fingerprint(structure_of(one.values)) for one in tried]
    assert len(set(prints)) == len(prints)


def test_what_failed_or_is_open_is_not_drawn_again() -> None:
    (first,) = method(seed=7).ask([], 1)
    open_one = Tried(0, first.values, "open")
    # Seeded by the number of trials, a method that is asked anew would draw the first once more.
    (again,) = method(seed=7, remembered=[open_one]).ask([], 1)
    assert fingerprint(structure_of(again.values)) != first.note["fingerprint"]


def test_every_island_begins_with_another_known_structure() -> None:
    first = method(seed=0, crossover=0.0).ask([], 3)
    assert [c.note["from"] for c in first] == [["sasrec"], ["gru4rec"], ["lightgcn"]]
    assert all("parent" not in c.note for c in first)


def test_a_child_takes_over_the_recipe_of_its_parent_and_nothing_else() -> None:
    values = {"learning_rate": 0.5, "epochs": 7, "embedding_size": 32}
    parent = Tried(0, values, "done", 1.0, metrics={"parameters": 100.0}, note={"island": 0})
    searched = method(layout=Layout(islands=1), crossover=0.0)
    (child,) = searched.ask([parent], 1)
    assert {n: v for n, v in child.values.items() if n != "structure"} == {
        "learning_rate": 0.5,
        "epochs": 7,
    }
    assert child.note["parent"] == 0
    assert child.note["from"] == ["#0"]


def test_earlier_cycles_offer_parents_without_being_mistaken_for_this_one() -> None:
    values = {"structure": KNOWN["gru4rec"].model_dump(mode="json"), "learning_rate": 0.5}
    earlier = Tried(0, values, "done", 1.0)
    searched = method(layout=Layout(islands=1), crossover=0.0, remembered=[earlier])
    (child,) = searched.ask([], 1)
    assert child.values["learning_rate"] == 0.5
    assert "parent" not in child.note
    assert child.note["from"] == [f"earlier {fingerprint(KNOWN['gru4rec'])}"]


def test_a_candidate_that_was_no_document_does_no_harm() -> None:
    refused = Tried(0, {"structure": {"blocks": [], "head": {}}}, "failed", error="static check")
    assert len(method().ask([refused], 2)) == 2


def test_limits_hold_for_all_that_is_drawn() -> None:
    limits = Limits(Sizes(100, 100), parameters=9_000)
    for one in run(method(seed=2, limits=limits), 20):
        assert count_weights(structure_of(one.values), 100, 100) <= 9_000


def test_where_nothing_is_allowed_nothing_is_drawn() -> None:
    assert method(limits=Limits(Sizes(100, 100), parameters=1)).ask([], 1) == []


def test_what_is_no_document_any_more_is_no_parent() -> None:
    broken = {"structure": {"blocks": [], "head": {}}, "learning_rate": 0.1}
    best = Tried(0, broken, "done", 9.0, metrics={"parameters": 10.0})
    for remembered, tried in (([best], []), ([], [best])):
        drawn = method(remembered=remembered, seed=1).ask(tried, 6)
        assert drawn
        assert all("parent" not in one.note for one in drawn)
