"""``/healthz`` and ``/metrics``: open, for machines that watch."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from agenticrs.ui.api.dependencies import Deps
from agenticrs.ui.api.metrics import Metrics
from agenticrs.ui.api.models import Health

router = APIRouter(tags=["operations"])


@router.get("/healthz")
def health(deps: Deps, response: Response) -> Health:
    """200 while the process and its database work, whether or not a model serves yet."""
    found = deps.serving.status
    state = "ok" if found.composition is not None else "waiting for a model"
    if found.failure:
        state = "stale"
    try:
        with deps.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        response.status_code, state = 503, "database away"
    return Health.model_validate(
        {
            "status": state,
            "composition": found.composition,
            "tracking_reachable": found.tracking_reachable,
            "resting": sorted({view.agent for view in found.resting}),
        }
    )


@router.get("/metrics", response_class=Response)
def metrics(request: Request) -> Response:
    """Figures in Prometheus' text format."""
    figures: Metrics = request.app.state.metrics
    return Response(figures.text(), media_type=CONTENT_TYPE_LATEST)
