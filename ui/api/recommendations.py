"""``/v1/recommend`` and ``/v1/feedback``: open, because the surface itself calls them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic_core import to_json
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from agenticrs.platform.database import is_away
from agenticrs.registry import feedback
from agenticrs.registry.tables import FeedbackRow
from agenticrs.ui.api import models
from agenticrs.ui.api.dependencies import Deps, Registry, get_dependencies
from agenticrs.ui.api.errors import invalid_field
from agenticrs.ui.api.metrics import Metrics
from agenticrs.ui.api.people import Needs
from agenticrs.ui.api.tracing import trace_answer
from agenticrs.ui.batches import Batches, Overloaded
from agenticrs.ui.gate import Gate
from agenticrs.ui.loaded_model import Answer, Asked, Step

router = APIRouter(prefix="/v1", tags=["serving"])
LATEST = 60
"""Seconds by which a caller's clock may be ahead of ours."""


@router.post("/recommend", response_model=models.RecommendResponse)
async def recommend(
    wanted: models.RecommendRequest,
    request: Request,
    explain: Annotated[bool, Query(description="The same as in the body.")] = False,
) -> Response:
    """The best items for a user; an unknown user is answered by the cold path."""
    batches: Batches[Asked, Answer] = request.app.state.batches
    metrics: Metrics = request.app.state.metrics
    found = await batches.ask(
        Asked(wanted.user_id, wanted.k, wanted.history, wanted.explain or explain)
    )
    metrics.count_agents(found.trace)
    metrics.count_arm(found)
    trace_answer(get_dependencies(request).tracer, request, found)
    return Response(_body(wanted, found), media_type="application/json")


@router.get("/recommend", response_model=models.RecommendResponse)
async def recommend_by_address(
    wanted: Annotated[models.RecommendRequest, Query()], request: Request
) -> Response:
    """The same, with the request in the address."""
    return await recommend(wanted, request)


def _body(wanted: models.RecommendRequest, found: Answer) -> bytes:
    """``models.RecommendResponse`` as JSON: at once, because every request pays for it."""
    items = [
        {"rank": rank, "id": item.id, "title": item.title, "score": item.score}
        for rank, item in enumerate(found.items, 1)
    ]
    body: dict[str, Any] = {
        "user_id": wanted.user_id,
        "known_user": found.known,
        "composition": found.composition,
        "arm": found.arm,
        "items": items,
        "trace": [_told(step) for step in found.trace] if wanted.trace else None,
        "explanation": None,
    }
    if found.explanation is not None:
        body["explanation"] = {
            "routes": found.explanation.routes,
            "items": [
                {"id": item.id, "filled": why.filled, "contributions": why.contributions}
                for item, why in zip(found.items, found.explanation.items, strict=True)
            ],
        }
    return to_json(body, inf_nan_mode="null")


def _told(step: Step) -> dict[str, Any]:
    return {name: getattr(step, name) for name in models.TraceStep.model_fields}


async def _admitted(request: Request) -> AsyncIterator[None]:
    gate: Gate = request.app.state.feedback
    with gate.inside():
        yield


@router.post("/feedback", dependencies=[Depends(_admitted)])
def give_feedback(
    batch: models.FeedbackRequest, request: Request, deps: Deps, session: Registry
) -> models.FeedbackResponse:
    """Keep what users did. It counts for the next recommendation, and for the next cycle.

    Where it cannot be kept now, or too many wait for that, the answer is 503: send it again, with
    the same keys.
    """
    loaded = deps.serving.loaded
    now = int(time.time())
    events = []
    for place, event in enumerate(batch.events):
        if not loaded.histories.knows_item(event.item_id):
            raise invalid_field(("events", place, "item_id"), "no item of the catalogue has it")
        if event.timestamp is not None and event.timestamp > now + LATEST:
            raise invalid_field(("events", place, "timestamp"), "lies in the future")
        events.append(
            feedback.FeedbackEvent(
                key=event.key,
                user_id=event.user_id,
                item_id=event.item_id,
                timestamp=now if event.timestamp is None else min(event.timestamp, now),
                behaviours={str(name): amount for name, amount in event.behaviours.items()},
            )
        )
    try:
        accepted = feedback.append(session, loaded.dataset.name, events)
        session.commit()  # before anybody acts on it
        # What is stored counts, not what was sent: a repeated key may come with another content.
        stored = _stored(session, loaded.dataset.name, events)
    except SQLAlchemyError as error:
        if not is_away(error):
            raise
        session.rollback()
        raise Overloaded(
            "feedback cannot be kept now", hint="send it again, with the same keys"
        ) from error
    deps.serving.see(stored)
    metrics: Metrics = request.app.state.metrics
    metrics.feedback.labels("new").inc(accepted.new)
    metrics.feedback.labels("repeated").inc(accepted.repeated)
    return models.FeedbackResponse(new=accepted.new, repeated=accepted.repeated)


@router.get("/feedback", dependencies=[Depends(Needs("viewer"))])
def count_feedback(deps: Deps, session: Registry) -> models.FeedbackCount:
    """How many events are kept for the dataset that serves (needs a login)."""
    name = deps.serving.status.dataset or deps.settings.dataset
    stored = feedback.count(session, name) if name else 0
    return models.FeedbackCount(dataset=name, stored=stored)


def _stored(
    session: Session, dataset: str, events: Sequence[feedback.FeedbackEvent]
) -> Sequence[FeedbackRow]:
    keys = {event.key for event in events}
    found = select(FeedbackRow).where(
        FeedbackRow.dataset == dataset, col(FeedbackRow.key).in_(keys)
    )
    return session.exec(found.order_by(col(FeedbackRow.id))).all()
