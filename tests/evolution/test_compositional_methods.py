"""Who searches for compositions, in which order, and what a minimum effect asks of them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import select

from agenticrs.agents.trial import TrialRequest, run_trial
from agenticrs.evolution import compositional, library, stages
from agenticrs.evolution.candidates import rungs
from agenticrs.evolution.evidence import Estimate
from agenticrs.evolution.selection import convincing
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry import compositions, cycles, promotion, proposals, trials, versions
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import MethodStateRow

from .conftest import World
from .opened import opened
from .test_methods_in_a_cycle import Model


def steps_of(world: World) -> tuple[int, dict[str, Any]]:
    with session_scope(world.services.engine) as session:
        number = max(c.id or 0 for c in cycles.list_all(session) if c.kind == "compositional")
        return number, {step.name: step.result for step in cycles.steps(session, number)}


def test_the_plan_says_who_searches_and_why_and_a_policy_learns_from_all_of_it(
    world: World,
) -> None:
    asked = world.with_settings(trials=4, alpha=1e-9, methods="composition=policy")
    asked.controller().evolve(("compositional",))
    number, steps = steps_of(asked)
    assert steps["plan"]["search"]["order"] == ["greedy", "policy"]
    assert "baseline to beat" in steps["plan"]["search"]["reason"]
    with session_scope(asked.services.engine) as session:
        methods = [row.method for row in trials.of_cycle(session, number, "home")]
        learnt = session.exec(select(MethodStateRow).where(MethodStateRow.agent == "home")).all()
    assert {"greedy", "policy"} <= set(methods)
    assert set(steps["evaluate"]["best"]) <= set(methods)
    assert [(row.method, row.version) for row in learnt] == [("policy", 1)]

    asked.with_settings(methods=None, trials=1).controller().evolve(("compositional",))
    number, steps = steps_of(asked)
    assert steps["plan"]["search"]["order"] == ["greedy", "tpe", "policy"]
    assert steps["observe"]["policies"] == {"home": 2}


def test_a_model_is_told_the_point_of_what_serves_and_not_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.controller().evolve(("bootstrap",))
    monkeypatch.setattr(compositional, "_order", lambda cycle: (["greedy", "llm"], "at once"))
    monkeypatch.setattr(compositional, "_GREEDY_SHARE", 10**9)
    model = Model([])
    asked = World(replace(world.services, language_models=[model])).with_settings(trials=1)
    asked.controller().evolve(("compositional",))
    point = _current(model.asked[0])["What serves now"]["point"]
    assert (point["weight.itemknn"], point["weight.ease"]) == (1.0, 0.0)
    assert point["path.history_router.cold"] == "popularity", "as the starter, that serves"

    monkeypatch.setattr(compositional, "point_of", lambda *told: None)
    asked.controller().evolve(("compositional",))
    assert list(_current(model.asked[-1])) == ["A point to go on from; another one serves"]


def _current(asked: str) -> dict[str, Any]:
    """What a model was told of the candidate ``current``, by its title."""
    found = re.search(r"# ([^\n]*): `current`\n\n<data[^>]*>\n(.*?)\n</data>", asked, re.DOTALL)
    assert found is not None
    return {found[1]: json.loads(found[2])}


def test_greedy_selection_chooses_among_versions_that_served_before(world: World) -> None:
    world.controller().evolve(("bootstrap",))
    services = world.services
    with opened(world, trials=1, agents=("itemknn",)) as cycle:
        row = rungs.propose(cycle, agent="itemknn", number=9, method="made up", config={})
        found = run_trial(cycle.fold, TrialRequest("itemknn", {"shrinkage": 50.0}))
        rungs.keep(cycle, cycle.specs["itemknn"], row, found, 1.0)
        second = stages.publish_version(cycle, row.id or 0).number
        serving = stages.champion(cycle)
        graph = Graph.model_validate(serving.graph).with_version("itemknn", second)
        after = stages.publish_composition(cycle, graph, {}, serving.number).number
    promotion.promote(
        services.engine,
        services.tracking,
        surface="home",
        after=after,
        who="ada",
        reason="by hand",
        cause="approval",
        key="by hand",
    )
    asked = world.with_settings(trials=7, alpha=1e-9)
    asked.controller().evolve(("compositional",))
    number, steps = steps_of(asked)
    assert steps["plan"]["members"]["itemknn"] == second
    assert steps["plan"]["earlier"] == {"itemknn": [1]}
    with session_scope(services.engine) as session:
        rows = trials.of_cycle(session, number, "home")
    earlier = [row for row in rows if "version.itemknn" in row.config]
    assert earlier
    assert {(row.method, row.state, row.config["version.itemknn"]) for row in earlier} == {
        ("greedy", "done", 1)
    }


def archive_one(world: World, config: dict[str, Any]) -> int:
    """A finished trial of itemknn that became no version; its key."""
    world.controller().evolve(("bootstrap",))
    with opened(world, trials=1, agents=("itemknn",)) as cycle:
        row = rungs.propose(cycle, agent="itemknn", number=9, method="made up", config=config)
        found = run_trial(cycle.fold, TrialRequest("itemknn", config))
        rungs.keep(cycle, cycle.specs["itemknn"], row, found, 1.0)
    return row.id or 0


def test_the_library_holds_candidates_that_differ_from_the_version_that_stands(
    world: World,
) -> None:
    key = archive_one(world, {"neighbours": 3, "exponent": 1.0})
    with opened(world, trials=1, agents=()) as cycle:
        present = stages.champion_versions(cycle)
        assert library.archived(cycle, ["itemknn"], present) == {"itemknn": [key]}
        cycle.results["plan"] = {"members": present}
        with session_scope(world.services.engine) as session:
            served = Graph.model_validate(stages.champion(cycle).graph)
            folder = cycle.trial_folder(trials.get(session, key))
        point = {"weight.itemknn": 1.0, "trial.itemknn": key}
        graph, files = compositional.candidate(cycle, point)
        assert graph.agents()["itemknn"] != served.agents()["itemknn"]
        brought = files["itemknn"]
        assert brought
        assert brought == {name: (folder / name).read_bytes() for name in brought}
        shutil.rmtree(folder)
        assert library.archived(cycle, ["itemknn"], present) == {}
        with pytest.raises(EvolutionError, match="itemknn are gone"):
            compositional.candidate(cycle, point)


def test_one_like_the_version_that_stands_is_not_in_the_library(world: World) -> None:
    archive_one(world, {"half_life": 11.0})
    with opened(world, trials=1, agents=("itemknn",)) as cycle:
        present = stages.champion_versions(cycle)
        assert library.archived(cycle, ["itemknn"], present) == {}


def test_a_candidate_becomes_a_version_when_a_composition_with_it_is_proposed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = archive_one(world, {"neighbours": 3, "exponent": 1.0})
    record = trials.record_full

    def praised(session: Any, trial_id: int, *, reward: float, **found: Any) -> Any:
        praise = 9.0 if "trial.itemknn" in trials.get(session, trial_id).config else 0.0
        return record(session, trial_id, reward=reward + praise, **found)

    monkeypatch.setattr(trials, "record_full", praised)
    monkeypatch.setattr(compositional, "convincing", lambda *gain: [True])
    world.with_settings(trials=7).controller().evolve(("compositional",))
    _, steps = steps_of(world)
    assert steps["plan"]["archived"] == {"itemknn": [key]}
    with session_scope(world.services.engine) as session:
        chosen = trials.get(session, steps["select"]["trial"])
        made = versions.of_trial(session, key)
        graph = compositions.get(session, "home", steps["approve"]["composition"]).graph
    assert (chosen.method, chosen.config["trial.itemknn"]) == ("greedy", key)
    assert made is not None
    assert Graph.model_validate(graph).agents()["itemknn"] == made.number


def test_a_composition_must_exceed_the_minimum_effect_for_certain(world: World) -> None:
    lenient = world.with_settings(trials=2, alpha=0.999, minimum_effect=0.9)
    lenient.controller().evolve(("compositional",))
    with session_scope(world.services.engine) as session:
        assert not [p for p in proposals.list_all(session, "home") if p.before is not None]


@pytest.mark.parametrize(
    ("least", "mean", "low", "p_value", "better"),
    [
        (0.0, 0.02, -0.001, 0.04, False),
        (0.0, 0.02, 0.001, 0.04, True),
        (0.0, 0.02, 0.01, 0.06, False),
        (0.0, -0.02, -0.03, 0.01, False),
        (0.01, 0.02, 0.011, 0.01, True),
        (0.01, 0.02, 0.009, 0.01, False),
    ],
)
def test_a_gain_convinces_by_its_test_and_by_its_whole_interval(
    least: float, mean: float, low: float, p_value: float, better: bool
) -> None:
    score = Estimate(mean=mean, low=low, high=0.05, p_value=p_value)
    assert convincing([score], 0.05, least) == [better]
