"""The routes of the JSON API."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import DataError
from agenticrs.registry import (
    agents,
    audit,
    compositions,
    cycles,
    feedback,
    proposals,
    trials,
    versions,
)
from agenticrs.registry.feedback import FeedbackEvent
from agenticrs.ui.api.dependencies import AppDependencies, Parts
from agenticrs.ui.api.metrics import Metrics
from agenticrs.ui.api.models import (
    DecisionIn,
    ErrorOut,
    FeedbackRequest,
    FeedbackResponse,
    Health,
    Id,
    ItemOut,
    RecommendRequest,
    RecommendResponse,
    RollbackIn,
    Row,
    TraceOut,
)
from agenticrs.ui.api.sessions import Changer, LoggedIn
from agenticrs.ui.serving import NothingServes
from agenticrs.ui.summary import cycle_summary

router = APIRouter()
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
_refusals = {
    code: {"model": ErrorOut} for code in (400, 401, 403, 404, 409)
}


@router.get("/healthz", tags=["operation"])
def healthz(parts: Parts, response: Response) -> Health:
    """Whether requests can be answered; 503 before the first composition serves."""
    try:
        number: int | None = parts.serving.live.composition
    except NothingServes:
        number, response.status_code = None, 503
    mlflow = "unreachable" if parts.serving.unreachable else "ok"
    return Health(status="ok" if number else "empty", composition=number, mlflow=mlflow)


@router.get("/metrics", tags=["operation"])
def metrics(request: Request, parts: Parts) -> Response:
    """Figures for Prometheus."""
    kept: Metrics = request.app.state.metrics
    kept.mlflow_up.set(not parts.serving.unreachable)
    try:
        kept.serving.set(parts.serving.live.composition)
    except NothingServes:
        kept.serving.set(0)
    return Response(generate_latest(kept.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/recommend", tags=["serving"], responses={503: {"model": ErrorOut}})
def recommend(
    request: Request,
    parts: Parts,
    user_id: Annotated[Id, Query()],
    k: Annotated[int, Query(ge=1, le=100)] = 10,
    trace: bool = False,
) -> RecommendResponse:
    """A slate for one user."""
    return _recommend(request, parts, RecommendRequest(user_id=user_id, k=k, trace=trace))


@router.post("/v1/recommend", tags=["serving"], responses={503: {"model": ErrorOut}})
def recommend_with_history(
    request: Request, parts: Parts, body: RecommendRequest
) -> RecommendResponse:
    """A slate for one user, who may bring a history along."""
    return _recommend(request, parts, body)


@router.post("/v1/feedback", tags=["serving"], responses={400: {"model": ErrorOut}})
def send_feedback(parts: Parts, body: FeedbackRequest) -> FeedbackResponse:
    """Keep what users did; the next cycle learns from it, and serving counts it at once."""
    live = parts.serving.live
    unknown = sorted({e.item_id for e in body.events if e.item_id not in live.items})
    if unknown:
        raise DataError(
            f"unknown item {unknown[0]!r}" + (f" and {len(unknown) - 1} more" * bool(unknown[1:])),
            hint="send ids of the catalogue; nothing of this batch was kept",
        )
    now = int(time.time())
    events = [
        FeedbackEvent(e.key, e.user_id, e.item_id, e.timestamp or now, e.behaviours)
        for e in body.events
    ]
    with session_scope(parts.engine) as session:
        accepted = feedback.append(session, live.dataset.name, events)
    for event in events:
        parts.serving.note(event.user_id, event.item_id, event.behaviours)
    return FeedbackResponse(new=accepted.new, repeated=accepted.repeated)


@router.get("/v1/agents", tags=["registry"], responses=_refusals)
def list_agents(parts: Parts, _: LoggedIn) -> list[Row]:
    """Agents and tools with their specs and admission reports."""
    with session_scope(parts.engine) as session:
        return [row.model_dump(mode="json") for row in agents.list_all(session)]


@router.get("/v1/agents/{name}", tags=["registry"], responses=_refusals)
def show_agent(parts: Parts, _: LoggedIn, name: str) -> Row:
    """One agent with its versions."""
    with session_scope(parts.engine) as session:
        row = agents.get(session, name)
        numbers = versions.of_agent(session, parts.settings.surface, name)
        return {
            **row.model_dump(mode="json"),
            "versions": [version.model_dump(mode="json") for version in numbers],
        }


@router.get("/v1/versions", tags=["registry"], responses=_refusals)
def list_versions(parts: Parts, _: LoggedIn) -> list[Row]:
    """Compositions of the surface, newest first."""
    with session_scope(parts.engine) as session:
        rows = compositions.all_of(session, parts.settings.surface)
        return [row.model_dump(mode="json") for row in rows]


@router.get("/v1/cycles", tags=["evolution"], responses=_refusals)
def list_cycles(
    parts: Parts, _: LoggedIn, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[Row]:
    """Cycles, newest first."""
    with session_scope(parts.engine) as session:
        rows = cycles.list_all(session, parts.settings.surface, limit)
        return [row.model_dump(mode="json") for row in rows]


@router.get("/v1/cycles/{cycle_id}", tags=["evolution"], responses=_refusals)
def show_cycle(parts: Parts, _: LoggedIn, cycle_id: Number) -> Row:
    """A cycle with its summary, steps and trials."""
    with session_scope(parts.engine) as session:
        row = cycles.get(session, cycle_id)
        steps = cycles.steps(session, cycle_id)
        tried = trials.of_cycle(session, cycle_id)
    return {
        **row.model_dump(mode="json"),
        "summary": cycle_summary(parts.engine, cycle_id),
        "steps": [step.model_dump(mode="json") for step in steps],
        "trials": [trial.model_dump(mode="json") for trial in tried],
    }


@router.get("/v1/proposals", tags=["evolution"], responses=_refusals)
def list_proposals(parts: Parts, _: LoggedIn, state: str | None = None) -> list[Row]:
    """Proposals, newest first."""
    with session_scope(parts.engine) as session:
        rows = proposals.list_all(session, parts.settings.surface, state)
        return [row.model_dump(mode="json") for row in rows]


@router.get("/v1/proposals/{proposal_id}", tags=["evolution"], responses=_refusals)
def show_proposal(parts: Parts, _: LoggedIn, proposal_id: Number) -> Row:
    """A proposal with its evidence and decisions."""
    return _proposal(parts, proposal_id)


@router.post("/v1/proposals/{proposal_id}/approve", tags=["evolution"], responses=_refusals)
def approve(parts: Parts, person: Changer, proposal_id: Number, body: DecisionIn) -> Row:
    """Approve: the composition serves when this answers."""
    parts.governance.decide(proposal_id, verdict="approve", who=person.name, reason=body.reason)
    return _proposal(parts, proposal_id)


@router.post("/v1/proposals/{proposal_id}/reject", tags=["evolution"], responses=_refusals)
def reject(parts: Parts, person: Changer, proposal_id: Number, body: DecisionIn) -> Row:
    """Reject, with a reason."""
    parts.governance.decide(proposal_id, verdict="reject", who=person.name, reason=body.reason)
    return _proposal(parts, proposal_id)


@router.post("/v1/rollback", tags=["evolution"], responses=_refusals)
def rollback(parts: Parts, person: Changer, body: RollbackIn) -> Health:
    """Let an earlier composition serve again."""
    parts.governance.rollback(to=body.to, who=person.name, reason=body.reason)
    parts.serving.refresh()
    return Health(status="ok", composition=parts.serving.live.composition, mlflow="ok")


@router.get("/v1/audit", tags=["registry"], responses=_refusals)
def list_audit(
    parts: Parts,
    _: LoggedIn,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> list[Row]:
    """Who changed what, when and why, newest first."""
    with session_scope(parts.engine) as session:
        return [row.model_dump(mode="json") for row in audit.entries(session, limit, before)]


def _recommend(
    request: Request, parts: AppDependencies, body: RecommendRequest
) -> RecommendResponse:
    answer = parts.serving.recommend(body.user_id, body.k, body.history)
    kept: Metrics = request.app.state.metrics
    kept.count_trace(answer.trace)
    shown = [
        TraceOut(
            node=step.node,
            agent=step.agent,
            status=step.status,
            milliseconds=step.milliseconds,
            error=step.error,
        )
        for step in answer.trace
    ]
    return RecommendResponse(
        surface=parts.settings.surface,
        composition=answer.composition,
        items=[ItemOut(item=i.item, title=i.title, score=i.score) for i in answer.items],
        trace=shown if body.trace else None,
    )


def _proposal(parts: AppDependencies, proposal_id: int) -> Row:
    with session_scope(parts.engine) as session:
        row = proposals.get(session, proposal_id)
        decided = proposals.decisions(session, proposal_id)
    return {
        **row.model_dump(mode="json"),
        "decisions": [decision.model_dump(mode="json") for decision in decided],
    }
