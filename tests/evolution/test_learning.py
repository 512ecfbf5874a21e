"""What policies learn in cycles: from which trials, in which space, and what is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlmodel import select

from agenticrs.agents import catalogue
from agenticrs.agents.grammar import documents
from agenticrs.agents.health.report import HealthReport
from agenticrs.agents.trial import TrialRequest, TrialResult, run_trial
from agenticrs.evolution import agent_methods, individual, stages
from agenticrs.evolution.candidates import agent_search, examination, rungs
from agenticrs.evolution.candidates.agent_search import AgentSearch
from agenticrs.evolution.learning import Learning, learnings
from agenticrs.evolution.methods.choice import Choice
from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_state import PolicyState
from agenticrs.evolution.methods.structures import OWN, structure_key
from agenticrs.platform.database import session_scope
from agenticrs.registry import trials
from agenticrs.registry.tables import MethodStateRow

from .conftest import World
from .opened import opened
from .test_methods_in_a_cycle import admit, rows_of

if TYPE_CHECKING:
    from agenticrs.evolution.cycle import Cycle

AGENT = "sasrec"


def planned(cycle: Cycle, choice: Choice, seconds: float = 600.0) -> None:
    """The cycle after its plan."""
    cycle.results["plan"] = {
        "agents": [AGENT],
        "turns": {AGENT: {"trials": cycle.request.trials, "seconds": seconds}},
        "choices": agent_methods.as_json({AGENT: choice}),
    }
    cycle.results["propose"] = {"begins": {AGENT: {"given": []}}}


@pytest.fixture
def trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first trial of each rung is trained; the others have its results."""
    kept: dict[float, TrialResult] = {}

    def quick(fold: Any, request: TrialRequest, *rest: Any, **named: Any) -> TrialResult:
        if request.effort not in kept:
            small = {**request.config, "epochs": 1, "max_length": 5}
            kept[request.effort] = run_trial(fold, replace(request, config=small), *rest, **named)
        return kept[request.effort]

    monkeypatch.setattr(agent_search, "run_trial", quick)
    monkeypatch.setattr(examination, "examine", lambda *_: HealthReport(()))


def test_a_policy_of_recipes_goes_on_where_an_earlier_cycle_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, trained_once: None
) -> None:
    monkeypatch.setattr(stages, "observe", lambda cycle: {})
    admit(world, AGENT)
    found = []
    for _ in range(2):
        with opened(world, trials=4, agents=(AGENT,)) as cycle:
            planned(cycle, Choice("propose_then_search", "policy", "variation", 2, 3, "saturated"))
            spec, implementation = cycle.specs[AGENT], catalogue.load_agents()[AGENT]
            method = agent_methods.method_of(cycle, AGENT)
            AgentSearch(cycle, spec, implementation, method, trials=4).run()
            observed = individual.observe(cycle)
        drawn = [row for row in rows_of(world, AGENT, cycle.id) if row.method == "policy"]
        assert all(row.config["structure"] for row in drawn)
        found.append({row.note["policy_version"] for row in drawn})
    assert found == [{0}, {1}]
    assert list(observed["recipe_policies"][AGENT].values()) == [2]
    assert observed["policies"] == {AGENT: 0}, "nothing was drawn in its own structure"


def record(cycle: Cycle, *points: dict[str, Any]) -> None:
    """Candidates that are done, with rewards that go down."""
    for number, point in enumerate(points):
        config = rungs.complete(catalogue.load_agents()[AGENT], point)
        row = rungs.propose(cycle, agent=AGENT, number=number, method="random", config=config)
        with session_scope(cycle.services.engine) as session:
            trials.record_full(
                session, row.id or 0, metrics={}, reward=1 - number / 20, seconds=1.0, device="cpu"
            )


def test_each_space_learns_from_candidates_of_its_own_structures(world: World) -> None:
    admit(world, AGENT)
    one, other, alone = (documents.sasrec(width=w).model_dump(mode="json") for w in (8, 16, 32))
    says_its_loss = {**one, "training": {"loss": "bpr"}}
    rates = [{"learning_rate": rate} for rate in (1e-3, 3e-3)]
    structures = (one, other, says_its_loss)
    with opened(world, trials=9, agents=(AGENT,)) as cycle:
        planned(cycle, Choice("alternate", "tpe", "variation", 2, 3, "for the test"))
        record(
            cycle,
            *rates,
            *({**rate, "structure": body} for rate in rates for body in structures),
            {**rates[0], "structure": alone},
        )
        own, recipe, smaller = learnings(cycle, AGENT)
        assert own.structures == [OWN]
        assert {structure_key(t.values) for t in own.results()} == {OWN}
        assert set(recipe.structures) == {structure_key({"structure": b}) for b in (one, other)}
        assert {p.name for p in recipe.space} - {p.name for p in smaller.space} == {"loss"}
        assert [len(learning.results()) for learning in (own, recipe, smaller)] == [2, 4, 2]
        versions = [learning.keep() for learning in (own, recipe, smaller)]
    assert versions == [1, 1, 1]
    with session_scope(world.services.engine) as session:
        rows = session.exec(select(MethodStateRow).order_by("id")).all()
        states = [
            PolicyState.from_bytes(row.content, learning.space)
            for row, learning in zip(rows, (own, recipe, smaller), strict=True)
        ]
    assert [len(state.memory) for state in states] == [2, 4, 2]
    lived = states[1].memory
    assert len(set(lived.cycles.tolist())) == 2, "a search for each structure"
    for mine in (lived.cycles == key for key in set(lived.cycles.tolist())):
        better, worse = lived.rewards[mine]
        assert better == pytest.approx(-worse), "with a level of its own"


def test_policies_see_what_share_of_the_seconds_is_gone(world: World) -> None:
    admit(world, AGENT)
    with opened(world, trials=4, agents=(AGENT,)) as cycle:
        planned(cycle, Choice("search", "policy", None, 0, 3, "for the test"), seconds=4.0)
        record(cycle, *({"learning_rate": rate} for rate in (1e-3, 2e-3, 3e-3)))
        learning = Learning(cycle, AGENT, cycle.specs[AGENT].space.expand())
        memory = learning.policy().learnt(learning.results()).memory
        actions = Actions(learning.space)
    assert memory.states[:, -actions.width - 1] == pytest.approx(np.array([0, 0.25, 0.5]))
