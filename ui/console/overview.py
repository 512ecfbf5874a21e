"""The first page: what serves now, what waits, the last cycles, the way back."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from agenticrs.registry import agents, canaries, cycles, promotion, proposals
from agenticrs.registry.graph import Graph
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console import graph_svg
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)


@router.get("/")
def overview(request: Request, someone: Someone, deps: Deps, session: Registry) -> Response:
    """What serves now, the last cycles, what waits, the way back."""
    surface = deps.settings.surface
    serving = promotion.serving(session, surface)
    history = promotion.history(session, surface, limit=10)
    earlier = dict.fromkeys(row.after for row in history)
    status = deps.serving.status
    return pages_of(request).page(
        request,
        "overview.html",
        person=someone,
        serving=serving,
        live=status,
        follows=serving is not None and status.composition not in (None, serving.number),
        picture=graph_svg.draw(
            Graph.model_validate(serving.graph),
            name="serving",
            title=f"Composition {serving.number}, which serves on {surface}",
            roles=agents.roles(session),
        )
        if serving
        else "",
        history=history,
        earlier=[number for number in earlier if serving and number != serving.number],
        waiting=proposals.list_all(session, surface, "waiting"),
        canary=next(iter(canaries.all_of(session, surface, limit=1)), None),
        cycles=cycles.list_all(session, surface, limit=6),
        link=deps.tracking.version_url(serving.model, serving.number) if serving else None,
    )
