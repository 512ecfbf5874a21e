"""An experiment as people are shown it: on the command line, by the API, on the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from agenticrs.agents.experimentation.experiment import Experiment
from agenticrs.evolution.experiments import ARMS
from agenticrs.registry.tables import ExperimentRow
from agenticrs.ui.canary_view import MetricView, metric_view


@dataclass(frozen=True)
class ArmView:
    """An arm: what its users see, its share as planned and as it came out (None: nobody yet)."""

    arm: str
    shows: str
    planned: float
    got: float | None
    users: int


@dataclass(frozen=True)
class ExperimentView:
    """Where an experiment stands."""

    experiment: int
    title: str
    state: str
    reason: str
    """What was concluded last, and why."""
    arms: Sequence[ArmView]
    ratio_p: float
    """Always valid p-value of the users' shares; below ``ratio_alpha`` a person is asked."""
    ratio_alpha: float
    step: int
    horizon: int
    explained: float | None
    """Part of the reward's variance that CUPED took out, of all users; None where it could not."""
    salt: str
    planned_by: str
    who: str
    begun: datetime
    seen: datetime | None
    finished: datetime | None
    metrics: Sequence[MetricView]
    """The treatment is the candidate of these, the control their champion."""

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def experiment_view(row: ExperimentRow) -> ExperimentView:
    """What is stored of it, with its metrics judged as its plan says."""
    state = Experiment.model_validate(row.experiment)
    design, seen = state.plan.design, sum(state.exposed)
    judged = state.judged()
    return ExperimentView(
        experiment=row.id or 0,
        title=row.title,
        state=row.state,
        reason=state.reason,
        arms=[
            ArmView(arm, shows, share, users / seen if seen else None, users)
            for arm, shows, share, users in zip(
                ARMS,
                (row.treatment, row.control),
                design.shares,
                state.exposed,
                strict=True,
            )
        ],
        ratio_p=state.ratio_p,
        ratio_alpha=state.plan.ratio_alpha,
        step=state.step,
        horizon=design.horizon,
        explained=_explained(row),
        salt=row.salt,
        planned_by=row.planned_by,
        who=row.who,
        begun=row.begun_at,
        seen=row.seen_at,
        finished=row.finished_at,
        metrics=[
            metric_view(
                rule.metric,
                judged[rule.metric],
                state.seen.get(rule.metric),
                may_lose=rule.margin,
            )
            for rule in state.plan.metrics
        ],
    )


def _explained(row: ExperimentRow) -> float | None:
    told = [(step["explained"], sum(step["users"])) for step in row.steps]
    known = [(part, users) for part, users in told if part is not None]
    total = sum(users for _, users in known)
    return sum(part * users for part, users in known) / total if total else None
