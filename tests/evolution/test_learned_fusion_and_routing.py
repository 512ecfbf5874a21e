"""Fusion and routing that learn: asked for, searched like models, and open to compositions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agenticrs.agents import catalogue
from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, cycles, trials, versions
from agenticrs.registry.admission import AdmissionReport

if TYPE_CHECKING:
    from tests.evolution.conftest import World

ASKED = ("learned_fusion", "learned_router", "activity_router", "score_fusion")


def admit(world: World) -> None:
    with session_scope(world.services.engine) as session:
        for name in ASKED:
            spec = catalogue.load_agents()[name].spec
            agents.record(session, spec, AdmissionReport(checks=[], admitted=True), "installed")


def test_they_are_searched_and_then_stand_for_choice(world: World) -> None:
    admit(world)
    names = ("popularity", "itemknn", "rrf", "history_router", *ASKED)
    _, searched, composed = world.controller().evolve(agents=names)
    with session_scope(world.services.engine) as session:
        rows = [row for row in trials.of_cycle(session, searched) if row.agent in ASKED]
        plan = next(s for s in cycles.steps(session, composed) if s.name == "plan").result
        tried = list(trials.of_cycle(session, composed, "home"))
    assert {row.agent for row in rows} == set(ASKED)
    assert {row.state for row in rows} <= {"done", "pruned"}, [row.error for row in rows]
    assert {"fusion", "router", "path.learned_router.special"} <= set(plan["parameters"])
    by_fusion = {row.config["fusion"]: row for row in tried}
    assert set(by_fusion) == {"rrf", "score_fusion", "learned_fusion"}
    assert by_fusion["learned_fusion"].state == "done", by_fusion["learned_fusion"].error


def test_asked_for_alone_they_learn_from_the_lists_of_all_champions(world: World) -> None:
    admit(world)
    world.controller().evolve(kinds=("individual",))
    (asked,) = world.controller().evolve(kinds=("individual",), agents=("learned_fusion",))
    with session_scope(world.services.engine) as session:
        rows = list(trials.of_cycle(session, asked))
        assert {row.state for row in rows} == {"done"}, [row.error for row in rows]
        assert versions.latest(session, "home", "learned_fusion") is not None


@pytest.mark.slow
def test_a_segmenter_is_searched_on_the_best_retrievers_and_composed_with_the_paths_it_learnt(
    world: World,
) -> None:
    with session_scope(world.services.engine) as session:
        spec = catalogue.load_agents()["segmenter"].spec
        agents.record(session, spec, AdmissionReport(checks=[], admitted=True), "installed")
    names = ("popularity", "itemknn", "ease", "rrf", "history_router", "segmenter")
    _, searched, composed = world.controller().evolve(agents=names)
    with session_scope(world.services.engine) as session:
        rows = [r for r in trials.of_cycle(session, searched) if r.agent == "segmenter"]
        tried = list(trials.of_cycle(session, composed, "home"))
    assert {row.state for row in rows} == {"done"}, [row.error for row in rows]
    assert all(row.metrics["ndcg@10"] > 0 for row in rows)
    routed = [row for row in tried if row.config["router"] == "segmenter"]
    paths = {row.config["path.segmenter.popular"] for row in routed}
    assert "popularity" in paths
    assert any(row.state == "done" for row in routed), [row.error for row in routed]
