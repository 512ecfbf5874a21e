"""``/v1/objectives``: which weights hold, what waits, a person's decision. Needs a login."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from sqlmodel import Session

from agenticrs.registry import objectives
from agenticrs.ui.api import models
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Key, Registry
from agenticrs.ui.api.people import Approver, Needs
from agenticrs.ui.objective_view import held_weights

router = APIRouter(prefix="/v1", tags=["governance"], dependencies=[Depends(Needs("viewer"))])


class _Public(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class ObjectiveProposal(_Public):
    """Weights that were proposed, what an experiment found of them, and what was decided."""

    id: int
    proposed_by: str
    before: dict[str, float]
    after: dict[str, float]
    evidence: dict[str, Any]
    state: str
    reason: str
    who: str
    at: datetime
    decided_at: datetime | None


class ObjectiveWeights(_Public):
    """The weights that hold, as shares that sum to 1, and the proposals to change them."""

    shares: Mapping[str, float]
    source: str
    proposal: int | None
    proposals: list[ObjectiveProposal]


@router.get("/objectives")
def show_objectives(deps: Deps, session: Registry) -> ObjectiveWeights:
    """The weights that hold, and the last proposals, newest first."""
    held = held_weights(session, deps.settings)
    rows = objectives.list_all(session, deps.settings.surface)
    return ObjectiveWeights(
        shares=held.shares,
        source=held.source,
        proposal=held.proposal,
        proposals=[ObjectiveProposal.model_validate(row) for row in rows],
    )


@router.post("/objectives/{number}/approve")
def approve_objectives(
    number: Key, decision: models.DecisionRequest, deps: Deps, session: Registry, who: Approver
) -> ObjectiveProposal:
    """Let weights that wait hold from the next cycle on."""
    return _decide(deps, session, number, "approve", who.name, decision.reason)


@router.post("/objectives/{number}/reject")
def reject_objectives(
    number: Key, decision: models.DecisionRequest, deps: Deps, session: Registry, who: Approver
) -> ObjectiveProposal:
    """Reject weights that wait; the reason is kept."""
    return _decide(deps, session, number, "reject", who.name, decision.reason)


@router.post("/objectives/reset")
def reset_objectives(
    decision: models.DecisionRequest, deps: Deps, session: Registry, who: Approver
) -> ObjectiveProposal:
    """Let the weights of the settings hold again; the proposal that held until now is returned."""
    row = objectives.reset(session, deps.settings.surface, who=who.name, reason=decision.reason)
    return ObjectiveProposal.model_validate(row)


def _decide(
    deps: AppDependencies,
    session: Session,
    number: int,
    verdict: objectives.Verdict,
    who: str,
    reason: str,
) -> ObjectiveProposal:
    row = objectives.decide(
        session, deps.settings.surface, number, verdict=verdict, who=who, reason=reason
    )
    return ObjectiveProposal.model_validate(row)
