"""Whole cycles, in this process: what they leave behind, and what a cut-off leaves undone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agenticrs.agents.trial import TrialResult
from agenticrs.evolution.candidates import agent_search, rungs
from agenticrs.evolution.controller import STEPS, Controller
from agenticrs.evolution.cycle import ORDER, Cycle, Event, Result, StepName, Waiting
from agenticrs.evolution.request import CycleKind
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, LeaseLost, NotAllowed
from agenticrs.registry import (
    audit,
    compositions,
    cycles,
    lease,
    promotion,
    proposals,
    trials,
    versions,
)
from agenticrs.registry.spec import AgentSpec
from agenticrs.registry.tables import TrialRow

if TYPE_CHECKING:
    from tests.evolution.conftest import MakeWorld, World


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


def evolve_all(world: World) -> list[int]:
    return world.controller().evolve()


def outcome(world: World) -> tuple[object, ...]:
    """What must be the same with and without a cut-off: trials, versions, promotions."""
    with session_scope(world.services.engine) as session:
        rows = [
            (t.agent, t.number, t.state, t.seed, t.reward, str(t.config))
            for c in sorted(cycles.list_all(session), key=lambda c: c.id or 0)
            for t in sorted(trials.of_cycle(session, c.id or 0), key=lambda t: (t.agent, t.number))
        ]
        numbers = sorted((v.agent, v.number) for v in versions.of_agent(session, "home"))
        made = sorted(c.digest for c in compositions.all_of(session, "home"))
        done = [p.after for p in promotion.history(session, "home")]
        promoted = [e.subject for e in audit.entries(session, action="promote")]
    return rows, numbers, made, done, promoted


def test_a_newcomer_gets_from_nothing_to_a_proposal_and_back(world: World) -> None:
    done = evolve_all(world)
    engine, controller = world.services.engine, world.controller()
    with session_scope(engine) as session:
        kinds = [cycles.get(session, cycle_id).kind for cycle_id in done]
        first = promotion.serving(session, "home")
        (proposal,) = proposals.list_all(session, "home", "waiting")
    assert kinds == ["bootstrap", "individual", "compositional"]
    assert first is not None
    for cycle_id, kind in zip(done, kinds, strict=True):
        folder = world.services.settings.home / "cycles" / str(cycle_id)
        assert f"{kind}, {'waiting' if kind == 'compositional' else 'done'}" in (
            (folder / "report.md").read_text()
        )
        assert "<svg" in (folder / "report.html").read_text()
    runs = world.services.tracking.find_run("home.cycles", "cycle", str(done[0]))
    assert runs is not None
    assert world.services.tracking.find_run("home.cycles", "cycle", str(done[-1])) is None
    evidence = proposal.evidence
    assert evidence["score"]["low"] > 0
    assert evidence["score"]["p_value"] <= 0.05
    assert all(rail["passed"] for rail in evidence["guardrails"])
    with pytest.raises(NotAllowed, match="reason"):
        controller.decide(proposal.id or 0, verdict="approve", who="ada", reason="  ")
    controller.decide(proposal.id or 0, verdict="approve", who="ada", reason="better")
    with session_scope(engine) as session:
        serving = promotion.serving(session, "home")
        cycle = cycles.get(session, done[-1])
        steps = {s.name: s.state for s in cycles.steps(session, done[-1])}
        entry = audit.entries(session, action="promote")[0]
    assert serving is not None
    assert serving.number == proposal.after
    assert cycle.state == "done"
    report = (world.services.settings.home / "cycles" / str(done[-1]) / "report.md").read_text()
    assert "ada: approve, because better" in report
    assert f"Composition {serving.number} was promoted" in report
    assert world.services.tracking.find_run("home.cycles", "cycle", str(done[-1])) is not None
    assert set(steps.values()) == {"done"}
    assert (entry.who, entry.reason) == ("ada", "better")
    alias = world.services.tracking.aliases(["home.composition"])["home.composition"]
    assert alias["champion"] == serving.number
    with pytest.raises(Conflict):
        controller.decide(proposal.id or 0, verdict="reject", who="bob", reason="too late")
    controller.rollback(to=None, who="ada", reason="second thoughts")
    with session_scope(engine) as session:
        back = promotion.serving(session, "home")
    assert back is not None
    assert back.number == first.number


def test_every_trial_says_where_it_comes_from(world: World) -> None:
    evolve_all(world)
    with session_scope(world.services.engine) as session:
        rows = [
            row for c in cycles.list_all(session) for row in trials.of_cycle(session, c.id or 0)
        ]
    assert rows
    for row in rows:
        assert row.fingerprint
        assert row.code_version
        assert row.environment["torch"]
        assert row.run_id


def test_the_test_split_is_opened_once_for_what_was_promoted(world: World) -> None:
    evolve_all(world)
    with session_scope(world.services.engine) as session:
        opened = [e.subject for e in audit.entries(session, action="open test split")]
        promoted = {p.after for p in promotion.history(session, "home")}
    assert sorted(opened) == sorted(f"home composition {number}" for number in promoted)


def test_a_rejected_proposal_changes_nothing_that_serves(world: World) -> None:
    evolve_all(world)
    with session_scope(world.services.engine) as session:
        before = promotion.serving(session, "home")
        (proposal,) = proposals.list_all(session, "home", "waiting")
    world.controller().decide(proposal.id or 0, verdict="reject", who="ada", reason="no")
    with session_scope(world.services.engine) as session:
        after = promotion.serving(session, "home")
        state = cycles.get(session, proposal.cycle_id or 0).state
    assert after == before
    assert state == "done"


def test_the_same_seed_gives_the_same_cycles(
    tmp_path: Path, world: World, make_world: MakeWorld
) -> None:
    home = tmp_path / "other"
    other = make_world(home, world.services.settings.model_copy(update={"home": home}))
    evolve_all(world)
    evolve_all(other)
    assert outcome(world) == outcome(other)


def kill_at(monkeypatch: pytest.MonkeyPatch, kind: CycleKind, step: StepName) -> None:
    """Let the first run of a step die when its work is done and before that is written down."""
    steps = dict(STEPS[kind])
    work = steps[step]
    died: list[bool] = []

    def dies(cycle: Cycle) -> Result | Waiting:
        answer = work(cycle)
        if died:
            return answer
        died.append(True)
        raise Killed

    steps[step] = dies
    changed = {**STEPS, kind: steps}
    monkeypatch.setattr("agenticrs.evolution.controller.STEPS", changed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["bootstrap", "individual", "compositional"])
def test_killed_at_any_step_the_next_start_ends_as_if_nothing_had_happened(
    kind: CycleKind, tmp_path: Path, world: World, make_world: MakeWorld
) -> None:
    evolve_all(world)
    expected = outcome(world)
    for step in ORDER:
        if kind == "compositional" and step in ("promote", "observe"):
            continue  # reached only through a decision
        home = tmp_path / step
        other = make_world(home, world.services.settings.model_copy(update={"home": home}))
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, kind, step)
            with pytest.raises(Killed):
                evolve_all(other)
            # Asked for both kinds again, it would rightly run another individual cycle.
            both: tuple[CycleKind, ...] = ("individual", "compositional")
            other.controller().evolve(both[1:] if kind == "compositional" else both)
        assert outcome(other) == expected, step


def test_a_kill_between_two_trials_loses_and_repeats_none(
    world: World, tmp_path: Path, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    evolve_all(world)
    home = tmp_path / "cut"
    other = make_world(home, world.services.settings.model_copy(update={"home": home}))
    keep = rungs.keep
    kept: list[str] = []

    def dies_at_the_fifth(
        cycle: Cycle,
        spec: AgentSpec,
        row: TrialRow,
        result: TrialResult,
        seconds: float,
        gpu_seconds: float | None = None,
    ) -> float:
        kept.append(row.agent)
        if len(kept) == 5:
            raise Killed
        return keep(cycle, spec, row, result, seconds, gpu_seconds)

    monkeypatch.setattr(agent_search, "keep", dies_at_the_fifth)
    with pytest.raises(Killed):
        evolve_all(other)
    evolve_all(other)
    assert outcome(other) == outcome(world)


def test_two_controllers_never_evolve_one_surface_at_once(world: World) -> None:
    engine = world.services.engine
    assert lease.acquire(engine, "evolve:home", "elsewhere:1:x", 60)
    with pytest.raises(Conflict, match="another process"):
        evolve_all(world)


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over(world: World) -> None:
    import socket

    dead = 2**22 + 12345  # beyond the largest pid
    lease.acquire(world.services.engine, "evolve:home", f"{socket.gethostname()}:{dead}:x", 3600)
    assert Controller(world.services).evolve(("individual",))


def test_a_cycle_whose_lease_is_lost_stops_without_a_failure_and_goes_on_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def watch(event: Event) -> None:
        said.append(event.step)
        if event.step == "evaluate":
            monkeypatch.setattr(lease.Held, "lost", True)

    with pytest.raises(LeaseLost):
        Controller(world.services, watch).evolve(("individual",))
    assert said.count("evaluate") == 1, "the first thing after the loss is the last"
    with session_scope(world.services.engine) as session:
        (row,) = cycles.list_all(session)
        states = {step.name: step.state for step in cycles.steps(session, row.id or 0)}
        assert all(trial.state != "failed" for trial in trials.of_cycle(session, row.id or 0))
    assert (row.kind, row.state, states["evaluate"]) == ("bootstrap", "running", "running")
    monkeypatch.undo()
    lease.release(world.services.engine, "evolve:home", str(holder(world)))
    world.controller().resume()
    with session_scope(world.services.engine) as session:
        assert cycles.get(session, row.id or 0).state == "done"


def holder(world: World) -> str | None:
    return lease.holder_of(world.services.engine, "evolve:home")
