"""What cycles leave in the memory: lifts over the right thing, costs, and what failed ones paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlmodel import select

from agenticrs.evolution import stages
from agenticrs.evolution.controller import STEPS
from agenticrs.evolution.remembering import remember
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry import cycles, trials
from agenticrs.registry.tables import MemoryRow, MethodStateRow

from .opened import opened

if TYPE_CHECKING:
    from tests.evolution.conftest import World

    from agenticrs.evolution.cycle import Cycle
    from agenticrs.evolution.request import CycleKind


def measured(cycle: Cycle, agent: str, *rewards: float, gpu_seconds: float = 0.0) -> list[int]:
    """Finished trials with these rewards; their ids."""
    made = []
    with session_scope(cycle.services.engine) as session:
        for number, reward in enumerate(rewards):
            row = trials.propose(
                session,
                cycle_id=cycle.id,
                agent=agent,
                number=number,
                method="tpe",
                config={},
                seed=0,
                dataset=cycle.dataset_name,
                fingerprint=cycle.fingerprint,
                split=cycle.request.split,
            )
            trials.record_full(
                session,
                row.id or 0,
                metrics={},
                reward=reward,
                seconds=3.0,
                gpu_seconds=gpu_seconds,
                device="cpu",
            )
            made.append(row.id or 0)
    return made


def entries(world: World, cycle_id: int) -> list[MemoryRow]:
    with session_scope(world.services.engine) as session:
        query = select(MemoryRow).where(MemoryRow.cycle_id == cycle_id)
        return sorted(session.exec(query), key=lambda row: row.id or 0)


def as_kind(cycle: Cycle, kind: CycleKind) -> None:
    cycle.request = cycle.request.model_copy(update={"kind": kind})


def test_of_compositions_the_reward_is_the_lift_over_what_serves(world: World) -> None:
    with opened(world, trials=4, agents=()) as earlier:
        as_kind(earlier, "compositional")
        measured(earlier, "home", 0.25, -0.04)
    with opened(world, trials=4, agents=()) as cycle:
        as_kind(cycle, "compositional")
        ids = measured(cycle, "home", 0.203, -0.16, 0.001, 0.3)
        cycle.results["select"] = {"trial": ids[3]}
        remember(cycle)
        found = entries(world, cycle.id)
    assert [row.outcome["lift"] for row in found] == [0.203, -0.16, 0.001, 0.3]
    assert [row.verdict for row in found] == ["better", "worse", "worse", "better"]
    assert [row.lesson for row in found] == [
        "it was 20.3% better than what serves",
        "it was 16.0% worse than what serves",
        "it made no difference",
        "it was 30.0% better than what serves",
    ]


def test_of_agents_the_lift_is_over_the_best_of_earlier_cycles(world: World) -> None:
    with opened(world, trials=4, agents=()) as earlier:
        measured(earlier, "ease", 0.2)
        remember(earlier)
        (first,) = entries(world, earlier.id)
    with opened(world, trials=4, agents=()) as cycle:
        measured(cycle, "ease", 0.25, 0.15)
        remember(cycle)
        assert remember(cycle) == 0, "nothing twice"
        found = entries(world, cycle.id)
    assert (first.lesson, "lift" in first.outcome) == ("the first of its kind on this data", False)
    assert [row.outcome["lift"] for row in found] == pytest.approx([0.25, -0.25])
    assert [row.lesson for row in found] == [
        "it was 25.0% better than the best before",
        "it was 25.0% worse than the best before",
    ]


def test_a_winner_is_promoted_when_it_serves_and_not_before(world: World) -> None:
    with opened(world, trials=4, agents=()) as cycle:
        inside, outside, other = measured(cycle, "ease", 0.1, 0.2, 0.05)
        verdicts = [
            {"agent": "ease", "trial": inside, "accepted": True},
            {"agent": "itemknn", "trial": outside, "accepted": True},
            {"agent": "mmr", "trial": other, "accepted": False},
        ]
        cycle.results["select"] = {"verdicts": verdicts}
        assert remember(cycle, undecided=True) == 1
        cycle.results["approve"] = {"outside": {"itemknn": 2}}
        cycle.results["promote"] = {"composition": None}
        assert remember(cycle) == 2
        found = {row.key: row.verdict for row in entries(world, cycle.id)}
    assert found[f"trial:{inside}"] == "better", "what serves has not changed"
    assert found[f"trial:{outside}"] == "promoted", "its alias has moved"


def test_gpu_seconds_are_part_of_the_cost(world: World) -> None:
    with opened(world, trials=4, agents=()) as cycle:
        measured(cycle, "ease", 0.1, gpu_seconds=1.5)
        remember(cycle)
        (found,) = entries(world, cycle.id)
    assert found.cost == {"seconds": 3.0, "gpu_seconds": 1.5}


@pytest.mark.parametrize("kind", ["individual", "compositional"])
def test_what_a_failed_cycle_paid_for_is_remembered_logged_and_learnt_from(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: CycleKind
) -> None:
    def fails(cycle: Cycle) -> Any:
        raise EvolutionError("the first error")

    world.controller().evolve(("bootstrap",))
    monkeypatch.setitem(cast(Any, STEPS), kind, {**STEPS[kind], "select": fails})
    agents = ("ease",) if kind == "individual" else ()
    with pytest.raises(EvolutionError, match="the first error"):
        world.controller().evolve((kind,), agents=agents)
    with session_scope(world.services.engine) as session:
        row = cycles.list_all(session, limit=1)[0]
        tried = trials.of_cycle(session, row.id or 0)
        learnt = [s.agent for s in session.exec(select(MethodStateRow))]
    assert (row.state, row.error) == ("failed", "select: the first error")
    assert tried
    assert {entry.key for entry in entries(world, row.id or 0)} == {f"trial:{t.id}" for t in tried}
    assert all(trial.run_id for trial in tried)
    assert learnt == ["ease" if kind == "individual" else "home"]


def test_what_goes_wrong_while_that_is_kept_does_not_hide_why_the_cycle_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(cycle: Cycle) -> Any:
        raise EvolutionError("the first error")

    def broken(cycle: Cycle) -> int:
        raise RuntimeError("the disk is full")

    world.controller().evolve(("bootstrap",))
    monkeypatch.setitem(cast(Any, STEPS), "individual", {**STEPS["individual"], "select": fails})
    monkeypatch.setattr(stages, "log_trials", broken)
    with pytest.raises(EvolutionError, match="the first error"):
        world.controller().evolve(("individual",), agents=("ease",))
    with session_scope(world.services.engine) as session:
        row = cycles.list_all(session, limit=1)[0]
    assert row.error == "select: the first error"
    assert entries(world, row.id or 0), "the others are kept all the same"
