"""What is counted against a budget, and that a stop by any cap keeps what was paid for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agenticrs.agents import catalogue
from agenticrs.evolution import agent_methods, individual
from agenticrs.evolution.candidates.agent_search import AgentSearch
from agenticrs.evolution.candidates.evaluation_cache import Evaluations
from agenticrs.evolution.learning import Learning
from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, trials
from agenticrs.registry.tables import TrialRow

from .conftest import World
from .opened import opened
from .searching import Told, admit, search, watched
from .test_methods_in_a_cycle import AGENT, Model, draft, planned

if TYPE_CHECKING:
    from agenticrs.evolution.cycle import Cycle

QUICK: list[dict[str, Any]] = [
    {"epochs": 4, "embedding_size": 8, "learning_rate": rate} for rate in (0.4, 0.3, 0.2)
]


def ended(cycle: Cycle, agent: str, points: Any, **budget: Any) -> str:
    """Why a search of these points ends."""
    found = catalogue.load_agents()[agent], Told(points)
    return AgentSearch(cycle, cycle.all_specs[agent], *found, len(points), **budget).run()


def rows_of(world: World, cycle_id: int, agent: str) -> list[TrialRow]:
    with session_scope(world.services.engine) as session:
        return list(trials.of_cycle(session, cycle_id, agent))


def test_a_trial_counts_its_share_of_a_gpu_times_its_seconds(world: World) -> None:
    admit(world, "bpr")
    fake = watched(world, [], gpu=True, seconds=10.0).with_settings(gpus_per_trial=0.25)
    with opened(fake, trials=1, agents=("bpr", "ease")) as cycle:
        (row,) = search(cycle, "bpr", QUICK[:1])
        assert (row.state, row.seconds, row.gpu_seconds) == ("done", 30.0, 7.5), (
            "two rungs, and to the end"
        )
        (given,) = search(cycle, "ease", [{"l2": 5.0}])
        assert given.gpu_seconds == 0.0, "closed forms stay on the CPU"
        assert cycle.spent_gpu_seconds() == cycle.spent_gpu_seconds("bpr") == 7.5
        assert cycle.spent_gpu_seconds("ease") == 0.0


def test_without_a_gpu_nothing_is_counted(world: World) -> None:
    admit(world, "bpr")
    with opened(watched(world, [], seconds=10.0), trials=1, agents=("bpr",)) as cycle:
        (row,) = search(cycle, "bpr", QUICK[:1])
    assert (row.seconds, row.gpu_seconds) == (30.0, 0.0)


@pytest.mark.parametrize(("on_gpu", "used"), [(True, 7.5), (False, 5.0)])
def test_what_failed_counts_where_trials_get_a_gpu(
    world: World, monkeypatch: pytest.MonkeyPatch, on_gpu: bool, used: float
) -> None:
    admit(world, "bpr")
    monkeypatch.setattr(Evaluations, "on_gpu", on_gpu)
    fake = watched(world, [], gpu=True, seconds=10.0, loses="0/full")
    with opened(fake, trials=1, agents=("bpr",)) as cycle:
        (row,) = search(cycle, "bpr", QUICK[:1])
    assert (row.state, row.seconds, row.gpu_seconds) == ("failed", 30.0, used)


def test_gpu_seconds_end_the_search_of_those_who_use_them(world: World) -> None:
    admit(world, "bpr")
    fake = watched(world, [], gpu=True, seconds=10.0).with_settings(gpus_per_trial=0.25)
    with opened(fake, trials=3, agents=("bpr", "ease")) as cycle:
        assert ended(cycle, "bpr", QUICK, gpu_seconds=4.0) == (
            "the 4 GPU-seconds of its turn are used up"
        )
        assert [row.state for row in rows_of(world, cycle.id, "bpr")] == ["done"]
        cycle.request = cycle.request.model_copy(update={"gpu_seconds": 9.0})
        assert ended(cycle, "bpr", QUICK) == "the cycle's 9 GPU-seconds are used up"
        assert [row.state for row in rows_of(world, cycle.id, "bpr")] == ["done", "done"]
        assert ended(cycle, "ease", [{"l2": 5.0}]) == "all 1 trials of its turn are used up"


def test_nobody_is_lost_when_the_budget_ends_between_two_rungs(world: World) -> None:
    admit(world, "bpr")
    fake = watched(world, [], seconds=10.0, wide=3)
    with opened(fake, trials=3, agents=("bpr",)) as cycle:
        why = ended(cycle, "bpr", [*QUICK, {**QUICK[0], "epochs": 5}], seconds=5.0)
        rows = rows_of(world, cycle.id, "bpr")
    assert why == "the 5 trial seconds of its turn are used up"
    assert len(rows) == 3, "the wave had begun"
    assert {row.state for row in rows} <= {"done", "pruned"}
    for row in rows:
        assert row.seconds == 10.0 * (len(row.note[trials.RUNGS]) + (row.state == "done"))
        assert row.reward is not None
    assert any(row.state == "done" for row in rows)


@pytest.mark.parametrize(
    ("cap", "budget", "states", "why"),
    [
        ("trials", {"trials": 2}, ["done", "done"], "all 2 trials of its turn are used up"),
        ("seconds", {"trials": 9, "seconds": 15.0}, ["done", "done"], "the cycle's 15 trial secon"),
        ("trial_seconds", {"trials": 2}, ["failed", "done"], "all 2 trials"),
    ],
)
def test_a_cycle_that_a_cap_stopped_selects_among_what_was_paid_for(
    world: World, cap: str, budget: Any, states: list[str], why: str
) -> None:
    world.controller().evolve(("bootstrap",))
    lost = "ease/0/full" if cap == "trial_seconds" else "nothing"
    fake = watched(world, [], seconds=10.0, loses=lost)
    (done,) = fake.controller().evolve(("individual",), agents=("ease",), **budget)
    rows = rows_of(world, done, "ease")
    assert [row.state for row in rows] == states
    with session_scope(world.services.engine) as session:
        steps = {step.name: step.result for step in cycles.steps(session, done)}
        assert cycles.get(session, done).state == "done"
    assert steps["evaluate"]["ended"]["ease"].startswith(why)
    (verdict,) = steps["select"]["verdicts"]
    best = max((r for r in rows if r.state == "done"), key=lambda r: r.reward or 0.0)
    assert verdict["trial"] == best.id
    assert verdict["seconds"] == 10.0 * len(rows)


def test_a_cycle_that_ran_out_of_gpu_seconds_selects_among_what_was_paid_for(world: World) -> None:
    world.controller().evolve(("bootstrap",))
    admit(world, "bpr")
    fake = watched(world, [], gpu=True, seconds=10.0).with_settings(gpus_per_trial=0.25)
    (done,) = fake.controller().evolve(("individual",), agents=("bpr",), trials=9, gpu_seconds=2.0)
    (row,) = rows_of(world, done, "bpr")
    with session_scope(world.services.engine) as session:
        steps = {step.name: step.result for step in cycles.steps(session, done)}
    assert steps["plan"]["turns"]["bpr"]["gpu_seconds"] == 2.0
    assert steps["evaluate"]["ended"]["bpr"] == "the cycle's 2 GPU-seconds are used up"
    assert steps["evaluate"]["gpu_seconds"] == 2.5
    assert steps["select"]["first_versions"] == {"bpr": row.id}


def test_a_policy_is_told_what_its_turn_may_spend(world: World) -> None:
    with opened(world, trials=3, agents=("ease",)) as cycle:
        cycle.results["plan"] = {"turns": {"ease": {"trials": 7, "seconds": 12.5}}}
        space = cycle.specs["ease"].space.expand()
        situation = Learning(cycle, "ease", space).policy().situation
    assert (situation.trials, situation.seconds) == (7, 12.5)


@pytest.mark.parametrize(
    "caps", [{"llm_tokens": 150.0e3}, {"llm_money": 0.15, "llm_prices": "small=1/1"}]
)
def test_when_tokens_or_money_are_used_up_the_drafts_end_and_the_rest_is_kept(
    world: World, caps: dict[str, Any]
) -> None:
    world.controller().evolve(("bootstrap",))
    admit(world, AGENT)
    model = Model([draft(8), draft(4), draft(12)], tokens=149_900)
    paying = World(replace(world.services, language_models=[model])).with_settings(**caps)
    with opened(paying, trials=3, agents=(AGENT,)) as cycle:
        choices = agent_methods.as_json({AGENT: planned("structures", "llm")})
        cycle.results["plan"] = {"agents": [AGENT], "choices": choices}
        cycle.results["propose"] = {"begins": {AGENT: {"given": []}}}
        method = agent_methods.method_of(cycle, AGENT)
        implementation = catalogue.load_agents()[AGENT]
        why = AgentSearch(cycle, cycle.specs[AGENT], implementation, method, trials=3).run()
        found = individual.select(cycle)
    assert why == "its method has nothing more to try"
    assert len(model.asked) == 1, "the second question would have broken the cap"
    done = [row for row in rows_of(world, cycle.id, AGENT) if row.state == "done"]
    assert [row.method for row in done] == ["llm:small"]
    assert found["first_versions"] == {AGENT: done[0].id}
