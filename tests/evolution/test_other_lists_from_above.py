"""An agent that works on lists from above: what it earned on others is not compared."""

from __future__ import annotations

import pytest
from sqlmodel import select

from agenticrs.agents.trial import TrialRequest, run_trial
from agenticrs.evolution import agent_methods, allotting, stages
from agenticrs.evolution.candidates import rungs
from agenticrs.evolution.candidates.seeds import trained_again
from agenticrs.evolution.candidates.upstream import AgentInputs
from agenticrs.evolution.cycle import Cycle
from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, promotion, trials
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import MemoryRow, TrialRow

from .conftest import World
from .opened import opened
from .searching import search

POINTS = [
    {"depth": 36, "trade_off": 0.67},
    {"depth": 22, "trade_off": 0.95},
    {"depth": 40, "trade_off": 0.3},
]


def tried(world: World) -> list[TrialRow]:
    with opened(world, trials=len(POINTS), agents=("mmr",)) as cycle:
        lists = cycle.once(AgentInputs).of(cycle.all_specs["mmr"])
        rows = search(cycle, "mmr", POINTS, inputs=lists)
        close(cycle)
    return rows


def close(cycle: Cycle) -> None:
    """Nobody goes on with it."""
    with session_scope(cycle.services.engine) as session:
        cycles.finish(session, cycle.id, "done")


def serve_another_retriever(world: World) -> None:
    """Another version of ItemKNN takes the place of the one that serves."""
    with opened(world, trials=1, agents=("itemknn",)) as cycle:
        config = {"neighbours": 3, "exponent": 1.0}
        row = rungs.propose(cycle, agent="itemknn", number=9, method="made up", config=config)
        found = run_trial(cycle.fold, TrialRequest("itemknn", config))
        rungs.keep(cycle, cycle.specs["itemknn"], row, found, 1.0)
        number = stages.publish_version(cycle, row.id or 0).number
        serving = stages.champion(cycle)
        graph = Graph.model_validate(serving.graph).with_version("itemknn", number)
        after = stages.publish_composition(cycle, graph, {}, serving.number).number
        close(cycle)
    promotion.promote(
        world.services.engine,
        world.services.tracking,
        surface="home",
        after=after,
        who="ada",
        reason="by hand",
        cause="approval",
        key="by hand",
    )


def test_rewards_on_other_lists_are_no_past_but_a_hint_from_elsewhere(world: World) -> None:
    world.controller().evolve(("bootstrap",))
    before = tried(world)
    with opened(world, trials=1, agents=("mmr",)) as cycle:
        known = agent_methods.remembered(cycle, "mmr")
        assert [one.trial for one in known] == [row.id for row in before[::-1]]
        # What serves has a path for new users, whom the fusion serves too in bootstrap.
        (bootstrap,) = agent_methods.elsewhere(cycle, "mmr")
        assert [one.origin for one in bootstrap] == ["default"]
        close(cycle)

    serve_another_retriever(world)
    with opened(world, trials=1, agents=("mmr",)) as cycle:
        assert agent_methods.remembered(cycle, "mmr") == []
        assert agent_methods.remembered(cycle, "ease") != [], "it works on no lists"
        assert [len(group) for group in agent_methods.elsewhere(cycle, "mmr")] == [3, 1]
        given, default = agent_methods.earlier_best(cycle, "mmr")
        turns, credit = allotting.allot(cycle, ["mmr"])
        assert "too little history" in turns["mmr"]["reason"]
        assert credit == {}
        (choice,) = agent_methods.chosen(cycle, turns).values()
        assert "saturated" not in choice.reason
    top = max(known, key=lambda one: one.reward or 0.0)
    assert given == {name: top.values[name] for name in given}
    assert default == {name: bootstrap[0].values[name] for name in default}

    after = tried(world)
    assert [row.reward for row in after] != [row.reward for row in before], "so it matters"
    assert all("cached_from" not in row.note for row in after)
    with opened(world, trials=1, agents=("mmr",)) as cycle:
        now = agent_methods.remembered(cycle, "mmr")
    assert [one.trial for one in now] == [row.id for row in after[::-1]]


def test_lessons_compare_on_the_same_lists_alone(world: World) -> None:
    world.controller().evolve(("bootstrap",))
    tried(world)
    serve_another_retriever(world)
    asked = world.with_settings(trials=1, alpha=1e-9)
    for lesson in ("the first of its kind on this data", "it made no difference"):
        asked.controller().evolve(("individual",), agents=("mmr",))
        with session_scope(world.services.engine) as session:
            told = session.exec(
                select(MemoryRow.lesson)
                .where(MemoryRow.agent == "mmr")
                .order_by(MemoryRow.id.desc())  # type: ignore[union-attr]
            ).first()
        assert told == lesson


def test_repeats_with_other_seeds_say_what_lists_they_worked_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.controller().evolve(("bootstrap",))
    (row, *_) = tried(world)
    monkeypatch.setattr("agenticrs.evolution.candidates.seeds.needed", lambda cycle, agent: 2)
    with opened(world, trials=1, agents=("mmr",)) as cycle:
        repeats = trained_again(cycle, [row], cycle.once(AgentInputs))["mmr"]
    assert [trials.inputs_of(one) for one in repeats] == [trials.inputs_of(row)]
