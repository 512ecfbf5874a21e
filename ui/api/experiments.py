"""``/v1/experiments``: what was seen of each, and what was concluded. Needs a login."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from agenticrs.evolution import experiments as carried_out
from agenticrs.registry import experiments
from agenticrs.ui.api import models
from agenticrs.ui.api.dependencies import Deps, Key, Registry
from agenticrs.ui.api.people import Approver, Needs
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


@router.post("/experiments/{number}/stop")
def stop_experiment(
    number: Key, decision: models.DecisionRequest, deps: Deps, who: Approver
) -> dict[str, Any]:
    """End one without a conclusion."""
    row = carried_out.stop(
        deps.engine, deps.settings.surface, number, who=who.name, reason=decision.reason
    )
    return experiment_view(row).as_dict()
