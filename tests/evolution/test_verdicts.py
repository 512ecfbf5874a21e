"""What must be true before anything better serves, asked of whole cycles whose figures are set.

Jobs run as ever; what they bring back is changed, so that a candidate gains exactly what a test
says, on the users that it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest

from agenticrs.agents.trial import TrialResult
from agenticrs.agents.trials import FailedTrial
from agenticrs.evolution import preflight
from agenticrs.evolution.candidates.seeds import needed
from agenticrs.platform.data.splits import search_users
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.platform.jobs.job import Cause, Failed, Job, Outcome, Succeeded
from agenticrs.registry import cycles, promotion, trials
from agenticrs.registry.tables import TrialRow
from agenticrs.ui.summary import cycle_summary

from .conftest import World
from .opened import opened
from .searching import admit

INSIDE, OUTSIDE = "itemknn", "ease"
BEFORE = ("/champion/", "/composition/serving")
AFTER = ("/full", "/composition/itemknn", "/composition/together", "/composition/candidate")
Rig = Callable[[Outcome], Outcome]


class Rigged(InlineRunner):
    """Changes what jobs bring back; notes which ran."""

    def __init__(self, rigs: Sequence[Rig], ran: list[str]) -> None:
        super().__init__()
        self.rigs, self.ran = rigs, ran

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        for outcome in super().run(jobs):
            self.ran.append(outcome.key)
            yield reduce(lambda changed, rig: rig(changed), self.rigs, outcome)


def gains(confirm: float, search: float | None = None, after: Sequence[str] = AFTER) -> Rig:
    """Every reward is 1 before, and after a change so much more: of confirm and search users."""
    more = confirm if search is None else search

    def told(result: Any, gained: bool) -> Any:
        if isinstance(result, FailedTrial):
            return result
        found = 1.0 + gained * np.where(search_users(result.users), more, confirm)
        return replace(result, per_user=dict.fromkeys(result.per_user, found))

    def rig(outcome: Outcome) -> Outcome:
        before = any(part in outcome.key for part in BEFORE)
        if not isinstance(outcome, Succeeded) or not (
            before or any(p in outcome.key for p in after)
        ):
            return outcome
        if isinstance(outcome.value, list):
            return replace(outcome, value=[told(one, gained=True) for one in outcome.value])
        return replace(outcome, value=told(outcome.value, gained=not before))

    return rig


def totals(ending: str, **changed: float) -> Rig:
    """Compositions whose keys end so have these totals."""

    def rig(outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Succeeded) or not outcome.key.endswith(ending):
            return outcome
        found = {**outcome.value.totals, **changed}
        return replace(outcome, value=replace(outcome.value, totals=found))

    return rig


def fails(ending: str, cause: Cause = "lost", times: int = 99) -> Rig:
    """Jobs whose keys end so come to nothing, so many times."""
    left = [times]

    def rig(outcome: Outcome) -> Outcome:
        if not outcome.key.endswith(ending) or not left[0]:
            return outcome
        left[0] -= 1
        return Failed(outcome.key, cause, "the worker died", seconds=outcome.seconds)

    return rig


def lasts(seconds: float, device: str = "cpu") -> Rig:
    """Every training takes so long on a whole GPU; results say that they are from that device."""

    def rig(outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Succeeded):
            return outcome
        value: Any = outcome.value
        if isinstance(value, list):
            value = [replace(one, seconds=seconds, device=device) for one in value]
            return replace(outcome, value=value, device="cuda", seconds=seconds * len(value))
        if isinstance(value, TrialResult):
            value = replace(value, device=device)
        return replace(outcome, value=value, device="cuda", seconds=seconds)

    return rig


def rigged(world: World, *rigs: Rig, ran: list[str] | None = None) -> World:
    """The world on such a runner."""
    kept: list[str] = [] if ran is None else ran
    return World(replace(world.services, open_runner=lambda: Rigged(rigs, kept)))


@pytest.fixture
def served(world: World) -> World:
    """A world in which a composition serves, with one cheap candidate a cycle."""
    world.controller().evolve(("bootstrap",))
    return world.with_settings(trials=1)


def individual(world: World, agent: str = INSIDE, **budget: Any) -> dict[str, Any]:
    """An individual cycle of one agent: the results of its steps."""
    (done,) = world.controller().evolve(("individual",), agents=(agent,), **budget)
    return steps_of(world, done)


def steps_of(world: World, number: int) -> dict[str, Any]:
    with session_scope(world.services.engine) as session:
        assert cycles.get(session, number).state in ("done", "waiting")
        return {step.name: step.result for step in cycles.steps(session, number)}


def verdict_of(steps: dict[str, Any]) -> dict[str, Any]:
    (verdict,) = steps["select"]["verdicts"]
    return dict(verdict)


def compositional(world: World) -> dict[str, Any]:
    """A compositional cycle: the results of its steps."""
    (done,) = world.controller().evolve(("compositional",))
    return steps_of(world, done)


def serving(world: World) -> int:
    with session_scope(world.services.engine) as session:
        row = promotion.serving(session, "home")
    assert row is not None
    return row.number


def repeats_of(world: World, agent: str) -> list[TrialRow]:
    with session_scope(world.services.engine) as session:
        newest = max(row.id or 0 for row in cycles.list_all(session))
        return [r for r in trials.of_cycle(session, newest, agent) if r.method == "seed"]


@pytest.mark.parametrize(
    ("confirm", "search", "wins"), [(0.05, None, True), (-0.1, 2.0, False), (0.05, -0.5, True)]
)
def test_an_agent_wins_by_the_confirm_users_alone(
    served: World, confirm: float, search: float | None, wins: bool
) -> None:
    steps = individual(rigged(served, gains(confirm, search)))
    verdict = verdict_of(steps)
    assert verdict["accepted"] is wins, verdict
    for part in ("blended", "inner", "outer"):
        figures = verdict[part] if part == "blended" else verdict[part]["difference"]
        assert figures["mean"] == pytest.approx(confirm)
    assert (serving(served) == 2) is wins
    if wins:
        assert steps["approve"]["evidence"]["score"]["mean"] == pytest.approx(confirm)


@pytest.mark.parametrize(
    ("confirm", "search", "wins"), [(0.05, None, True), (-0.1, 2.0, False), (0.05, -0.5, True)]
)
def test_a_composition_wins_by_the_confirm_users_alone(
    served: World, confirm: float, search: float | None, wins: bool
) -> None:
    found = compositional(rigged(served, gains(confirm, search)))["select"]
    assert (found["trial"] is not None) is wins
    if wins:
        assert found["evidence"]["score"]["mean"] == pytest.approx(confirm)
        assert found["evidence"]["reward"]["difference"]["mean"] == pytest.approx(confirm)
    else:
        assert found["why"] == "no significant gain"


@pytest.mark.parametrize(("least", "wins"), [(0.0, True), (0.04, True), (0.06, False)])
def test_an_agent_must_exceed_the_minimum_effect(served: World, least: float, wins: bool) -> None:
    asked = served.with_settings(minimum_effect=least)
    verdict = verdict_of(individual(rigged(asked, gains(0.05))))
    assert verdict["accepted"] is wins
    assert (serving(served) == 2) is wins
    if not wins:
        assert verdict["reason"] == "not better by more than 0.06 for certain"


@pytest.mark.parametrize(("least", "wins"), [(0.0, True), (0.04, True), (0.06, False)])
def test_a_composition_must_exceed_it_too(served: World, least: float, wins: bool) -> None:
    asked = served.with_settings(minimum_effect=least)
    found = compositional(rigged(asked, gains(0.05)))
    assert (found["select"]["trial"] is not None) is wins


BROKEN = [{"latency_ms": 1e9}, {"coverage@10": 0.0}]


@pytest.mark.parametrize("broken", BROKEN)
def test_an_agent_that_breaks_a_guardrail_is_not_accepted(served: World, broken: Any) -> None:
    verdict = verdict_of(
        individual(rigged(served, gains(0.05), totals("/composition/itemknn", **broken)))
    )
    assert not verdict["accepted"]
    assert verdict["reason"].startswith("guardrail broken: ")
    assert serving(served) == 1


@pytest.mark.parametrize("broken", BROKEN)
def test_winners_that_break_a_guardrail_together_do_not_serve(served: World, broken: Any) -> None:
    steps = individual(rigged(served, gains(0.05), totals("/composition/together", **broken)))
    assert verdict_of(steps)["accepted"]
    assert steps["approve"]["decided_by"] == "guardrails: together they fail"
    assert serving(served) == 1


@pytest.mark.parametrize("broken", BROKEN)
def test_a_composition_that_breaks_a_guardrail_is_passed_over(served: World, broken: Any) -> None:
    steps = compositional(rigged(served, gains(0.05), totals("/composition/candidate", **broken)))
    assert steps["select"]["trial"] is None
    assert "is passed over: " in steps["approve"]["decided_by"]


@pytest.mark.parametrize("cause", ["lost", "timeout", "error"])
def test_an_agent_that_was_not_measured_in_what_serves_is_not_accepted(
    served: World, cause: Cause
) -> None:
    asked = rigged(served, gains(0.05), fails("/composition/itemknn", cause))
    (done,) = asked.controller().evolve(("individual",), agents=(INSIDE,))
    verdict = verdict_of(steps_of(served, done))
    assert verdict["blended"]["mean"] == pytest.approx(0.05), "by its inner reward it would win"
    assert not verdict["accepted"]
    why = f"what serves could not be measured with it, {cause}: the worker died"
    assert verdict["reason"] == why
    assert serving(served) == 1
    (shown,) = cycle_summary(served.services.engine, done)["agents"]
    assert (shown["verdict"], shown["outer"], shown["why"]) == ("stays", "not measured", why)
    report = (served.services.settings.home / "cycles" / str(done) / "report.md").read_text()
    assert why in report


def test_others_win_while_one_was_not_measured(served: World) -> None:
    asked = rigged(served, gains(0.05), fails("/composition/itemknn"))
    (done,) = asked.controller().evolve(("individual",), agents=(INSIDE, OUTSIDE))
    found = {v["agent"]: v["accepted"] for v in steps_of(served, done)["select"]["verdicts"]}
    assert found == {INSIDE: False, OUTSIDE: True}


def test_winners_that_were_not_measured_together_do_not_serve(served: World) -> None:
    steps = individual(rigged(served, gains(0.05), fails("/composition/together")))
    assert steps["approve"]["composition"] is None
    assert steps["approve"]["decided_by"] == (
        "what would serve could not be measured, lost: the worker died"
    )
    assert serving(served) == 1


def test_a_composition_that_was_not_measured_is_passed_over(served: World) -> None:
    steps = compositional(rigged(served, gains(0.05), fails("/composition/candidate")))
    assert steps["select"]["trial"] is None
    assert "could not be measured, lost: the worker died" in steps["approve"]["decided_by"]


SEEDED = "bpr"


@pytest.fixture
def learning(world: World) -> World:
    """A world in which an agent that draws at random has a first version, outside of the graph."""
    admit(world, SEEDED)
    world.controller().evolve(("bootstrap",))
    return world.with_settings(trials=1, confirm_seeds=3, gpus_per_trial=1.0)


WINS = gains(0.05, after=("/bpr/0/full", "/bpr/1/full", "/bpr/2/full", "/seeds/bpr"))


def test_a_winner_is_accepted_on_all_its_seeds(learning: World) -> None:
    verdict = verdict_of(individual(rigged(learning, WINS), SEEDED))
    assert (verdict["accepted"], verdict["seeds"]) == (True, 3)
    assert verdict["reason"] == "better for certain, over 3 seeds"
    assert [row.state for row in repeats_of(learning, SEEDED)] == ["done", "done"]


def test_seeds_that_fail_leave_the_champion_and_are_paid_for(learning: World) -> None:
    ran: list[str] = []
    slow = lasts(10.0, "cuda")
    lost = rigged(learning, WINS, slow, fails("/seeds/bpr", "timeout"), ran=ran)
    verdict = verdict_of(individual(lost, SEEDED))
    assert not verdict["accepted"]
    assert verdict["reason"].startswith("only 1 of 3 trainings could be compared: #1 timeout: ")
    repeats = repeats_of(learning, SEEDED)
    assert [row.state for row in repeats] == ["failed", "failed"]
    assert [(row.seconds, row.gpu_seconds) for row in repeats] == [(20.0, 20.0)] * 2
    assert sum(key.endswith("/seeds/bpr") for key in ran) == 2, "once more, with the same seeds"


def test_seeds_whose_worker_was_lost_once_are_trained_again(learning: World) -> None:
    asked = rigged(learning, WINS, fails("/seeds/bpr", times=1))
    verdict = verdict_of(individual(asked, SEEDED))
    assert (verdict["accepted"], verdict["seeds"]) == (True, 3)
    assert [(row.state, row.error) for row in repeats_of(learning, SEEDED)] == [("done", "")] * 2


def test_one_seed_that_fails_by_itself_is_not_tried_again_and_is_one_too_few(
    learning: World,
) -> None:
    def breaks(outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Succeeded) or not outcome.key.endswith("/seeds/bpr"):
            return outcome
        found = [FailedTrial("its loss is NaN", 4.0), *outcome.value[1:]]
        return replace(outcome, value=found, device="cuda")

    ran: list[str] = []
    verdict = verdict_of(individual(rigged(learning, WINS, breaks, ran=ran), SEEDED))
    assert (verdict["accepted"], verdict["seeds"]) == (False, 2)
    assert verdict["reason"] == "only 2 of 3 trainings could be compared: #1 its loss is NaN"
    failed, done = repeats_of(learning, SEEDED)
    assert (failed.state, failed.seconds, failed.gpu_seconds) == ("failed", 4.0, 4.0)
    assert done.state == "done"
    assert sum(key.endswith("/seeds/bpr") for key in ran) == 1


def test_who_learns_from_outcomes_needs_all_seeds_too(learning: World) -> None:
    with opened(learning, trials=1, agents=()) as cycle:
        told = {name: needed(cycle, name) for name in ("learned_fusion", "bpr", "ease", "rrf")}
    assert told == {"learned_fusion": 3, "bpr": 3, "ease": 1, "rrf": 1}


def spent(world: World) -> tuple[float, float]:
    with session_scope(world.services.engine) as session:
        rows = trials.of_cycle(session, max(row.id or 0 for row in cycles.list_all(session)))
    return sum(row.seconds for row in rows), sum(row.gpu_seconds for row in rows)


@pytest.mark.parametrize(
    ("caps", "says"),
    [
        ({"seconds": 45.0}, "60 of the cycle's 45 trial seconds, of which 15 are left"),
        ({"gpu_seconds": 45.0}, "60 of the cycle's 45 GPU-seconds, of which 15 are left"),
    ],
)
def test_a_winner_whose_seeds_are_not_paid_for_waits_for_the_next_cycle(
    learning: World, caps: dict[str, float], says: str
) -> None:
    asked = rigged(learning, WINS, lasts(10.0))
    steps = individual(asked, SEEDED, **caps)
    verdict = verdict_of(steps)
    assert not verdict["accepted"]
    assert verdict["reason"] == (f"2 more trainings with other seeds would take about {says}")
    assert repeats_of(learning, SEEDED) == []
    assert spent(learning) == (30.0, 30.0)

    again = individual(asked, SEEDED, seconds=200.0)
    verdict = verdict_of(again)
    with session_scope(learning.services.engine) as session:
        first, second = (trials.get(session, one["trial"]) for one in (verdict_of(steps), verdict))
    assert second.config == first.config, "it goes on with what was paid for"
    assert "cached_from" in second.note
    assert (verdict["accepted"], verdict["seeds"]) == (True, 3)


def test_a_search_leaves_the_seconds_that_a_winner_s_seeds_take(learning: World) -> None:
    asked = rigged(learning, WINS, lasts(10.0))
    steps = individual(asked, SEEDED, trials=9, seconds=100.0)
    assert steps["evaluate"]["ended"][SEEDED] == (
        "the rest of the cycle's 100 trial seconds is kept for 2 more seeds of a winner"
    )
    assert verdict_of(steps)["accepted"]
    assert spent(learning)[0] <= 100.0


def test_a_budget_that_pays_for_a_trial_but_not_for_its_seeds_is_refused(learning: World) -> None:
    with opened(learning, trials=1, agents=(SEEDED,)) as cycle:
        with session_scope(learning.services.engine) as session:
            for row in trials.of_cycle(session, 1, SEEDED):
                row.seconds = 20.0
                session.add(row)
        cycle.request = cycle.request.model_copy(update={"seconds": 60.0})
        preflight.refuse_too_small(cycle, [SEEDED])
        cycle.request = cycle.request.model_copy(update={"seconds": 59.0})
        with pytest.raises(EvolutionError, match=r"3 full trials of bpr.*needs 60"):
            preflight.refuse_too_small(cycle, [SEEDED])
