"""Experiments carried out: planned by the agent for it, told of users, concluded, remembered.

An experiment compares what the platform does not serve by itself: a change of the site, two
surfaces, what another system shows. Whoever answers its users asks which arm they are in, and tells
what they brought once that has come due. What was concluded is advice: nothing is promoted by it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sqlalchemy import Engine
from sqlmodel import Session

from agenticrs.agents.experimentation.experiment import Experiment
from agenticrs.agents.experimentation.experiment import observe as next_state
from agenticrs.agents.experimentation.observation import Observation
from agenticrs.agents.experimentation.orchestrator import ExperimentOrchestrator
from agenticrs.evolution.canaries.rules import REWARD, course_of
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import DataError, EvolutionError, NotAllowed
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import experiments, memory
from agenticrs.registry.tables import ExperimentRow, MemoryRow, utc_now
from agenticrs.rewards.experiments.assignment import assign
from agenticrs.rewards.experiments.cuped import cuped
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.rewards.experiments.sequential import Sample

ARMS = ("treatment", "control")
LARGEST = 1e12
"""Beyond it squares and their sums would no longer be exact, or no numbers at all."""
_VERDICTS = {"treatment": "better", "control": "worse", "ask": "superseded"}


@dataclass(frozen=True)
class Wanted:
    """What a person asks for; all that they leave open is planned."""

    title: str
    treatment: str
    control: str
    allocation: float = 0.5
    """Share of the users who are shown the treatment."""
    horizon: int = 14
    """Steps after which it ends without a decision."""
    users: int = 1000
    """Expected a step, of both arms together."""
    margin: float = 0.01
    """Part of the reward that may be lost."""
    guardrails: tuple[Guardrail, ...] = ()


@dataclass(frozen=True)
class Told:
    """What one user brought in the time that counts; ``before`` in as long a time before it."""

    user_id: str
    metrics: Mapping[str, float]
    before: float | None = None


def begin(
    engine: Engine,
    tracking: Tracking,
    settings: Settings,
    wanted: Wanted,
    *,
    who: str,
    reason: str,
) -> ExperimentRow:
    """Plan an experiment and write it down.

    Raises NotAllowed without a reason, EvolutionError for what is no design, TrackingError when
    MLflow is away.
    """
    if not (wanted.title.strip() and wanted.treatment.strip() and wanted.control.strip()):
        raise EvolutionError(
            "that is no design of an experiment: the question or an arm has no words",
            hint="say what is asked, and what the users of each arm see",
        )
    config, by = course_of(engine, tracking, settings.surface)
    try:
        plan = ExperimentOrchestrator(config).plan(
            Guardrail(REWARD, margin=wanted.margin, larger_is_better=True, tolerated=0.0),
            wanted.guardrails,
            alpha=settings.alpha,
            allocation=wanted.allocation,
            horizon=wanted.horizon,
            users=wanted.users,
        )
    except ValueError as error:
        raise EvolutionError(
            f"that is no design of an experiment: {error}",
            hint="a share between 0 and 1, a horizon, users and margins above 0",
        ) from error
    with session_scope(engine) as session:
        return experiments.begin(
            session,
            ExperimentRow(
                surface=settings.surface,
                title=wanted.title,
                treatment=wanted.treatment,
                control=wanted.control,
                experiment=Experiment(plan=plan).model_dump(mode="json"),
                adjust=config.adjust,
                salt=f"experiment {settings.surface} {secrets.token_hex(8)}",
                planned_by=by,
                who=who,
                reason=reason,
            ),
        )


def arms(row: ExperimentRow, users: Sequence[str]) -> list[str]:
    """The arm of each user: the same in every process and on every day."""
    shares = Experiment.model_validate(row.experiment).plan.design.shares
    return [ARMS[place] for place in assign(users, row.salt, shares).tolist()]


def observe(
    engine: Engine, surface: str, number: int, told: Sequence[Told], *, who: str
) -> ExperimentRow:
    """One step: let users count whose reward has come due, and conclude what follows.

    Raises NotFound, DataError for users without a metric or told of twice, NotAllowed for users who
    have counted, AgentError when it is over, Conflict when somebody else changed it meanwhile.
    """
    with session_scope(engine) as session:
        row = experiments.get(session, surface, number)
        before = Experiment.model_validate(row.experiment)
        observed, explained = observation(row, told)
        state = next_state(before, observed)
        experiments.let_count(session, row, [one.user_id for one in told], state.step)
        over = state.outcome != "go on"
        row = experiments.change(
            session,
            row,
            state=state.outcome if over else "running",
            who=row.planned_by,
            reason=state.reason,
            experiment=state.model_dump(mode="json"),
            step=_step(state, observed, explained, who),
        )
        if over:
            _remember(session, row, state)
        return row


def stop(engine: Engine, surface: str, number: int, *, who: str, reason: str) -> ExperimentRow:
    """End it without a conclusion. Raises NotFound, NotAllowed without a reason, Conflict."""
    if not reason.strip():
        raise NotAllowed("stopping needs a reason", hint="say why in a sentence")
    with session_scope(engine) as session:
        row = experiments.get(session, surface, number)
        return experiments.change(session, row, state="stopped", who=who, reason=reason.strip())


def observation(row: ExperimentRow, told: Sequence[Told]) -> tuple[Observation, float | None]:
    """What a step has shown, and the part of the reward's variance that the past explains.

    None where not everybody has a past, or the plan does not take it out.
    """
    if not told or len({one.user_id for one in told}) < len(told):
        raise DataError("need users, each told of once", hint="a row for each user who came due")
    treated = torch.tensor([arm == ARMS[0] for arm in arms(row, [one.user_id for one in told])])
    values = {
        name: torch.tensor([_metric(one, name) for one in told], dtype=torch.float64)
        for name in (one.metric for one in Experiment.model_validate(row.experiment).plan.metrics)
    }
    past = [one.before for one in told if one.before is not None]
    if not all(abs(value) <= LARGEST for value in past):
        raise DataError("what users brought before is no number", hint="correct the column before")
    explained = None
    if row.adjust and len(past) == len(told):
        adjusted = cuped(values[REWARD], torch.tensor(past, dtype=torch.float64))
        values[REWARD], explained = adjusted.reward, adjusted.explained
    found = Observation(
        treatment={name: Sample.of(own[treated]) for name, own in values.items()},
        control={name: Sample.of(own[~treated]) for name, own in values.items()},
        exposed=(int(treated.sum()), int((~treated).sum())),
    )
    return found, explained


def _metric(told: Told, name: str) -> float:
    value = told.metrics.get(name)
    if value is None or not abs(value) <= LARGEST:
        raise DataError(
            f"{name} of user {told.user_id!r} is missing or no number",
            hint="every user needs the reward and each guardrail",
        )
    return value


def _step(
    state: Experiment, observed: Observation, explained: float | None, who: str
) -> dict[str, Any]:
    reward = state.judged()[REWARD]
    known = math.isfinite(reward.low)
    return {
        "at": utc_now().isoformat(),
        "by": who,
        "users": list(observed.exposed),
        "gain": reward.gain if known else None,
        "low": reward.low if known else None,
        "high": reward.high if known else None,
        "explained": explained,
    }


def _remember(session: Session, row: ExperimentRow, state: Experiment) -> None:
    outcome: dict[str, float] = {}
    for name, found in state.judged().items():
        if math.isfinite(found.low):
            outcome |= {name: found.gain, f"{name}_low": found.low, f"{name}_high": found.high}
    if REWARD in outcome:
        outcome["lift"] = outcome[REWARD]
    memory.remember(
        session,
        MemoryRow(
            surface=row.surface,
            agent=row.surface,
            key=f"experiment:{row.id}",
            origin="experiment",
            proposal=f"{row.treatment} in place of {row.control}",
            reason=row.reason,
            outcome=outcome,
            cost={"steps": state.step},
            verdict=_VERDICTS[state.outcome],
            lesson=f"experiment {row.id}, {state.step} steps: {state.reason}",
            dataset="",
            fingerprint="",
        ),
    )
