"""The first page: what serves now and how good it is, what waits, the last cycles, the way back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlmodel import Session

from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, canaries, cycles, promotion, proposals, schedules
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import CompositionRow, ScheduleRow
from agenticrs.ui.api.credentials import Person
from agenticrs.ui.api.dependencies import AppDependencies, Deps
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console import graph_svg, trend
from agenticrs.ui.console.members import members_of
from agenticrs.ui.console.rendering import pages_of
from agenticrs.ui.console.waiting import what_waits

router = APIRouter(include_in_schema=False)


@router.get("/")
def overview(request: Request, someone: Someone, deps: Deps) -> Response:
    """What serves now, the last cycles, what waits, the way back."""
    values = overview_values(deps, someone)
    return pages_of(request).page(request, "overview.html", person=someone, **values)


def overview_values(deps: AppDependencies, someone: Person) -> dict[str, Any]:
    """What the page shows to that person."""
    surface, status = deps.settings.surface, deps.serving.status
    with session_scope(deps.engine) as session:
        serving = promotion.serving(session, surface)
        history = promotion.history(session, surface, limit=8)
        behaviour, feedback = trend.feedback_trend(session, deps)
        return {
            "serving": serving,
            "live": status,
            "follows": serving is not None and status.composition not in (None, serving.number),
            "picture": graph_svg.draw(
                Graph.model_validate(serving.graph),
                name="serving",
                title=f"Composition {serving.number}, which serves on {surface}",
                roles=agents.roles(session),
                linked=True,
            )
            if serving
            else "",
            "members": members_of(session, deps, serving) if serving else [],
            "reward": trend.reward_trend(session, surface),
            "behaviour": behaviour,
            "feedback": feedback,
            "history": history,
            "earlier": [
                number
                for number in dict.fromkeys(row.after for row in history)
                if serving and number != serving.number
            ],
            "waiting": what_waits(session, surface, someone),
            "elsewhere": _elsewhere(session, surface),
            "canary": next(iter(canaries.all_of(session, surface, limit=1)), None),
            "cycles": cycles.list_all(session, surface, limit=6),
            "coming": _coming(session, surface),
            "link": deps.tracking.version_url(serving.model, serving.number) if serving else None,
        }


def _elsewhere(session: Session, surface: str) -> list[tuple[CompositionRow, Any, int]]:
    """What serves on each other surface of the registry, since when, and how much waits there."""
    found = []
    for name in promotion.surfaces(session):
        row, last = promotion.serving(session, name), promotion.history(session, name, limit=1)
        if name != surface and row is not None:
            waiting = len(proposals.list_all(session, name, "waiting"))
            found.append((row, last[0].at, waiting))
    return found


def _coming(session: Session, surface: str) -> list[ScheduleRow]:
    """Schedules that will begin a cycle, the next one first."""
    active = [row for row in schedules.list_all(session, surface) if row.state == "active"]
    timed = [row for row in active if row.start_at is not None]
    return sorted(timed, key=lambda row: row.start_at or row.created_at)
