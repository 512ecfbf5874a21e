"""An experiment as people are shown it: on the command line, by the API, on the console."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from agenticrs.agents.experimentation.experiment import Experiment
from agenticrs.registry.tables import ExperimentRow
from agenticrs.rewards.experiments.sample_ratio import log_evidence
from agenticrs.ui.canary_view import MetricView


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
    shares = (design.allocation, 1 - design.allocation)
    return ExperimentView(
        experiment=row.id or 0,
        title=row.title,
        state=row.state,
        reason=state.reason,
        arms=[
            ArmView(arm, shows, share, users / seen if seen else None, users)
            for arm, shows, share, users in zip(
                ("treatment", "control"),
                (row.treatment, row.control),
                shares,
                state.exposed,
                strict=True,
            )
        ],
        ratio_p=math.exp(min(0.0, -log_evidence(state.exposed, shares))) if seen else 1.0,
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
        metrics=_metrics(state),
    )


def _metrics(state: Experiment) -> list[MetricView]:
    rules, found = {one.metric: one for one in state.plan.metrics}, []
    for name, judged in state.judged().items():
        seen, known = state.seen.get(name), math.isfinite(judged.low)
        found.append(
            MetricView(
                metric=name,
                verdict=judged.verdict,
                gain=judged.gain if known else None,
                low=judged.low if known else None,
                high=judged.high if known else None,
                may_lose=rules[name].margin,
                candidate_users=seen.treated if seen else 0,
                champion_users=seen.controls if seen else 0,
            )
        )
    return found


def _explained(row: ExperimentRow) -> float | None:
    told = [(step["explained"], sum(step["users"])) for step in row.steps]
    known = [(part, users) for part, users in told if part is not None]
    total = sum(users for _, users in known)
    return sum(part * users for part, users in known) / total if total else None
