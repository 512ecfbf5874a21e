"""``/v1/canary``: where the canary stands, and a person's answer. Needs a login."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Depends

from agenticrs.evolution.canaries import rollout
from agenticrs.registry import canaries
from agenticrs.ui.api import models
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Approver, Needs
from agenticrs.ui.canary_view import canary_view

router = APIRouter(prefix="/v1", tags=["governance"], dependencies=[Depends(Needs("viewer"))])


class CanaryAnswer(models.DecisionRequest):
    """What a person says, and why."""

    choice: Literal["watch", "advance", "rollback"]


@router.get("/canary")
def show_canary(deps: Deps, session: Registry) -> dict[str, Any]:
    """The last canary of the surface, as `agenticrs canary show` tells it."""
    return canary_view(deps.engine, canaries.latest(session, deps.settings.surface)).as_dict()


@router.post("/canary/answer")
def answer_canary(said: CanaryAnswer, deps: Deps, who: Approver) -> dict[str, Any]:
    """Answer a paused canary, or roll back one that runs."""
    row = rollout.answer(
        deps.engine,
        deps.tracking,
        deps.settings.surface,
        rollout.ANSWERS[said.choice],
        who=who.name,
        reason=said.reason,
    )
    deps.serving.refresh()
    return canary_view(deps.engine, row).as_dict()
