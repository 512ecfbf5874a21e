"""Experiments carried out: planned, told of users step by step, concluded, remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from sqlalchemy import Engine

from agenticrs.agents.experimentation.experiment import Experiment
from agenticrs.evolution import experiments
from agenticrs.evolution.experiments import Told, Wanted
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import (
    AgentError,
    Conflict,
    DataError,
    EvolutionError,
    NotAllowed,
    NotFound,
)
from agenticrs.platform.settings import Settings, load_settings
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.registry import audit, memory, schema
from agenticrs.registry import experiments as kept
from agenticrs.registry.tables import ExperimentRow
from agenticrs.rewards.experiments.guardrails import Guardrail

WANTED = Wanted(
    title="Does a calmer page bring more?",
    treatment="one item at a time",
    control="a list",
    horizon=6,
    users=400,
    guardrails=(Guardrail("leaving", margin=0.3),),
)


class Ground(NamedTuple):
    engine: Engine
    tracking: MemoryTracking
    settings: Settings


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    settings = load_settings(home=tmp_path)
    engine = make_engine(settings.registry_url)
    schema.upgrade(engine)
    yield Ground(engine, MemoryTracking(tmp_path / "mlflow"), settings)
    engine.dispose()


def begun(ground: Ground, wanted: Wanted = WANTED) -> ExperimentRow:
    row = experiments.begin(*ground, wanted, who="ada", reason="people scroll past")
    # Drawn anew, one in some assignments would be an unlucky one.
    with session_scope(ground.engine) as session:
        row = session.get_one(ExperimentRow, row.id)
        row.salt = f"experiment {row.id}"
    return row


def day(row: ExperimentRow, number: int, *, lift: float = 0.0, lost: float = 0.0) -> list[Told]:
    """400 new users, whose past explains most of what they bring; ``lost`` of the treated."""
    rng = np.random.default_rng(number)
    users = [f"u{number}-{n}" for n in range(400)]
    told = []
    for user, arm in zip(users, experiments.arms(row, users), strict=True):
        past = float(rng.gamma(4.0, 0.25))
        treated = arm == "treatment"
        reward = past + 0.1 * float(rng.standard_normal()) + (lift if treated else 0.0)
        if not (treated and rng.random() < lost):
            told.append(Told(user, {"reward": reward, "leaving": float(rng.random() < 0.3)}, past))
    return told


def seen(ground: Ground, row: ExperimentRow, told: list[Told]) -> ExperimentRow:
    return experiments.observe(ground.engine, "home", row.id or 0, told, who="cron")


def test_it_is_planned_by_the_agent_within_what_people_allow(ground: Ground) -> None:
    row = begun(ground)
    plan = Experiment.model_validate(row.experiment).plan
    assert row.planned_by == "experiment_orchestrator at its defaults"
    assert (plan.design.horizon, plan.users, plan.design.alpha) == (6, 400, ground.settings.alpha)
    assert plan.design.spent == 1.0, "2000 effective users are more than 6 steps bring"
    assert [one.metric for one in plan.metrics] == ["reward", "leaving"]
    with pytest.raises(NotAllowed, match="reason"):
        experiments.begin(*ground, WANTED, who="ada", reason=" ")
    with pytest.raises(EvolutionError, match="no words"):
        begun(ground, Wanted(" ", "a", "b"))
    for wrong in ({"allocation": 1.0}, {"horizon": 0}, {"users": 0}, {"margin": 0.0}):
        with pytest.raises(EvolutionError, match="no design"):
            begun(ground, Wanted("?", "a", "b", **wrong))


def test_a_user_stays_in_their_arm_and_another_experiment_mixes_anew(ground: Ground) -> None:
    row, other = begun(ground), begun(ground)
    users = [f"u{n}" for n in range(2000)]
    arms = experiments.arms(row, users)
    assert arms == experiments.arms(row, users)
    assert arms[5] == experiments.arms(row, ["u5"])[0]
    assert 900 < arms.count("treatment") < 1100
    same = sum(a == b for a, b in zip(arms, experiments.arms(other, users), strict=True))
    assert 900 < same < 1100


def test_what_is_better_is_concluded_audited_and_remembered(ground: Ground) -> None:
    row = begun(ground)
    while row.state == "running":
        row = seen(ground, row, day(row, len(row.steps), lift=0.08))
    assert row.state == "treatment"
    assert 1 <= len(row.steps) <= 6
    assert row.finished_at is not None
    last = row.steps[-1]
    assert last["low"] > 0
    assert last["explained"] > 0.9, "CUPED took out what the past explains"
    with session_scope(ground.engine) as session:
        actions = [entry.action for entry in audit.entries(session)]
        (found,) = memory.search(session, "home", "calmer treatment one item at a time")
        decisions = [entry.action for entry in kept.decisions(session, row)]
    assert actions == ["experiment: treatment", "experiment begins"] == decisions
    assert (found.row.origin, found.row.verdict) == ("experiment", "better")
    assert found.row.outcome["lift"] > 0
    with pytest.raises(AgentError, match="over"):
        seen(ground, row, day(row, 50))
    with pytest.raises(Conflict, match="over"):
        experiments.stop(ground.engine, "home", row.id or 0, who="ada", reason="late")


def test_what_the_past_explains_makes_the_interval_narrower(ground: Ground) -> None:
    first, second = begun(ground), begun(ground)
    told = day(first, 0)
    without = [Told(one.user_id, one.metrics) for one in day(second, 0)]
    (adjusted,), (plain,) = seen(ground, first, told).steps, seen(ground, second, without).steps
    assert plain["explained"] is None
    assert adjusted["high"] - adjusted["low"] < 0.5 * (plain["high"] - plain["low"])


def test_an_arm_that_loses_users_is_for_a_person(ground: Ground) -> None:
    row = begun(ground)
    while row.state == "running":
        row = seen(ground, row, day(row, len(row.steps), lift=0.01, lost=0.5))
    assert row.state == "ask"
    with session_scope(ground.engine) as session:
        state = Experiment.model_validate(kept.get(session, "home", row.id or 0).experiment)
    assert state.reason.startswith("users are not shared as they should")


def test_a_user_counts_once_and_a_refused_step_leaves_nothing(ground: Ground) -> None:
    row = begun(ground)
    told = day(row, 0)
    with pytest.raises(DataError, match="each told of once"):
        seen(ground, row, [*told, told[0]])
    with pytest.raises(DataError, match="each told of once"):
        seen(ground, row, [])
    with pytest.raises(DataError, match="leaving of user 'x' is missing"):
        seen(ground, row, [*told, Told("x", {"reward": 1.0})])
    with pytest.raises(DataError, match="no number"):
        seen(ground, row, [*told, Told("x", {"reward": float("nan"), "leaving": 0.0})])
    row = seen(ground, row, told)
    again = [*day(row, 1), told[7]]
    with pytest.raises(NotAllowed, match="has counted"):
        seen(ground, row, again)
    row = seen(ground, row, again[:-1])
    assert len(row.steps) == 2
    with pytest.raises(NotFound):
        experiments.observe(ground.engine, "feed", row.id or 0, day(row, 2), who="cron")


def test_a_person_stops_it_with_a_reason(ground: Ground) -> None:
    row = begun(ground)
    with pytest.raises(NotAllowed, match="reason"):
        experiments.stop(ground.engine, "home", row.id or 0, who="ada", reason=" ")
    row = experiments.stop(ground.engine, "home", row.id or 0, who="ada", reason="the page broke")
    assert row.state == "stopped"
    with session_scope(ground.engine) as session:
        assert kept.decisions(session, row)[0].reason == "the page broke"
        with pytest.raises(Conflict):
            kept.change(session, row, state="running", who="ada", reason="")
