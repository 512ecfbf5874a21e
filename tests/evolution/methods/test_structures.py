"""Candidates by structure, and which structures are too dear to go on with."""

from __future__ import annotations

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.canonical import fingerprint
from agenticrs.evolution.methods.combination import SearchBest
from agenticrs.evolution.methods.method import Candidate, Tried
from agenticrs.evolution.methods.structures import DEAR, OWN, of_structure, paying

STRUCTURES = [documents.gru4rec(width=width) for width in (8, 12)]
HEAVY, LIGHT = ({"structure": one.model_dump(mode="json"), "x": 1.0} for one in STRUCTURES)


def test_candidates_of_a_structure_are_points_of_its_recipe() -> None:
    brought = {**HEAVY, "x": 4.0}
    tried = [Tried(0, {"x": 1.0}, "done", 0.1), Tried(1, brought, "done", 0.5)]
    (own,), (bare,) = (of_structure(tried, n) for n in (OWN, fingerprint(STRUCTURES[0])))
    assert (own.values, own.reward) == ({"x": 1.0}, 0.1)
    assert (bare.values, bare.reward) == ({"x": 4.0}, 0.5)


def test_what_takes_several_times_the_usual_is_not_gone_on_with() -> None:
    class Same:
        def ask(self, tried: object, n: int) -> list[Candidate]:
            return [Candidate({"x": 2.0}, "tpe")]

    tried = [
        Tried(0, {"x": 1.0}, "done", 0.1, seconds=2.0),
        Tried(1, HEAVY, "done", 0.9, seconds=2.0 * DEAR + 1),
        Tried(2, LIGHT, "done", 0.5, seconds=2.0 * DEAR),
    ]
    own, heavy, light = paying(tried)
    assert (own, light) == (tried[0], tried[2])
    assert (heavy.state, heavy.reward, heavy.error) == (
        "failed",
        None,
        "it takes 4.5 times the usual",
    )
    (after,) = SearchBest(lambda values: Same()).ask(tried, 1)
    assert after.values == {**LIGHT, "x": 2.0}


def test_without_one_of_the_own_structure_the_cheapest_is_usual() -> None:
    tried = [
        Tried(0, HEAVY, "done", 0.9, seconds=10.0),
        Tried(1, LIGHT, "done", 0.5, seconds=2.0),
        Tried(2, {"x": 1.0}, "pruned", rungs=(0.1,), seconds=0.1),
    ]
    assert [one.state for one in paying(tried)] == ["failed", "done", "pruned"]
    assert paying(tried[:1]) == tried[:1], "nobody knows better"


def test_dear_settings_of_the_own_structure_are_the_users_choice() -> None:
    tried = [Tried(n, {"x": n}, "done", 0.5, seconds=s) for n, s in enumerate((1.0, 1.0, 99.0))]
    assert paying(tried) == tried
    unknown = [Tried(0, {"x": 1.0}, "done", 0.1), Tried(1, HEAVY, "done", 0.9, seconds=50.0)]
    assert paying(unknown) == unknown, "what a taken result took is not known"
