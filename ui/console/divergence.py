"""Where MLflow and the registry say different things, explained."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from agenticrs.platform.errors import TrackingError
from agenticrs.registry import audit, divergence, orphans
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Viewer
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)


@router.get("/divergence")
def show_divergence(request: Request, someone: Viewer, deps: Deps, session: Registry) -> Response:
    """What differs now, and what differed before."""
    away = ""
    found: list[divergence.Divergence] = []
    alone: list[orphans.Orphan] = []
    try:
        found = divergence.look(deps.engine, deps.tracking, deps.settings.surface)
        alone = orphans.look(deps.engine, deps.tracking, deps.settings.surface)
    except TrackingError as error:
        away = error.message
    return pages_of(request).page(
        request,
        "divergence.html",
        person=someone,
        found=found,
        alone=alone,
        away=away,
        earlier=audit.entries(session, 20, action="divergence"),
    )
