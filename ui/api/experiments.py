"""``/v1/experiments``: begun, users assigned and told of, what was concluded. Needs a login."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Query

from agenticrs.evolution import experiments as carried_out
from agenticrs.registry import experiments
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.ui.api import models
from agenticrs.ui.api.dependencies import Deps, Key, Registry
from agenticrs.ui.api.people import Approver, Needs, Operator
from agenticrs.ui.experiment_view import experiment_view

router = APIRouter(prefix="/v1", tags=["governance"], dependencies=[Depends(Needs("viewer"))])


@router.get("/experiments")
def list_experiments(deps: Deps, session: Registry) -> list[dict[str, Any]]:
    """The experiments of the surface, newest first."""
    rows = experiments.all_of(session, deps.settings.surface)
    return [experiment_view(row).as_dict() for row in rows]


@router.get("/experiments/{number}")
def show_experiment(number: Key, deps: Deps, session: Registry) -> dict[str, Any]:
    """One, as `agenticrs experiments show` tells it."""
    return experiment_view(experiments.get(session, deps.settings.surface, number)).as_dict()


@router.post("/experiments")
def begin_experiment(wanted: models.ExperimentRequest, deps: Deps, who: Operator) -> dict[str, Any]:
    """Plan an experiment and begin it."""
    asked = carried_out.Wanted(
        title=wanted.title,
        treatment=wanted.treatment,
        control=wanted.control,
        allocation=wanted.allocation,
        horizon=wanted.horizon,
        users=wanted.users,
        margin=wanted.margin,
        guardrails=tuple(
            Guardrail(one.metric, one.margin, one.larger_is_better) for one in wanted.guardrails
        ),
    )
    where = (deps.engine, deps.tracking, deps.settings)
    row = carried_out.begin(*where, asked, who=who.name, reason=wanted.reason)
    return experiment_view(row).as_dict()


@router.get("/experiments/{number}/arms")
def arms_of_users(
    number: Key,
    user: Annotated[list[models.Id], Query(min_length=1, max_length=200)],
    deps: Deps,
    session: Registry,
) -> list[models.UserArm]:
    """The arm of each user: by id and the experiment's salt, nothing is stored."""
    row = experiments.get(session, deps.settings.surface, number)
    return [
        models.UserArm(user=one, arm=cast(Any, arm))
        for one, arm in zip(user, carried_out.arms(row, user), strict=True)
    ]


@router.post("/experiments/{number}/observations")
def observe_experiment(
    number: Key, observed: models.ObservationRequest, deps: Deps, who: Operator
) -> dict[str, Any]:
    """One step: users whose reward has come due count, and what follows is concluded."""
    told = [carried_out.Told(one.user, one.metrics, one.before) for one in observed.users]
    row = carried_out.observe(deps.engine, deps.settings.surface, number, told, who=who.name)
    return experiment_view(row).as_dict()


@router.post("/experiments/{number}/stop")
def stop_experiment(
    number: Key, decision: models.DecisionRequest, deps: Deps, who: Approver
) -> dict[str, Any]:
    """End one without a conclusion."""
    row = carried_out.stop(
        deps.engine, deps.settings.surface, number, who=who.name, reason=decision.reason
    )
    return experiment_view(row).as_dict()
