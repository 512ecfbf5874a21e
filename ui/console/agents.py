"""Agents and tools: the list, and one with its declaration, report, space and versions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from agenticrs.registry import agents, promotion, versions
from agenticrs.registry.graph import Graph
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)


@router.get("/agents")
def list_agents(request: Request, someone: Someone, deps: Deps, session: Registry) -> Response:
    """Agents and tools."""
    surface = deps.settings.surface
    serving = promotion.serving(session, surface)
    return pages_of(request).page(
        request,
        "agents.html",
        person=someone,
        rows=agents.list_all(session),
        counts=versions.counts(session, surface),
        inside=Graph.model_validate(serving.graph).agents() if serving else {},
    )


@router.get("/agents/{name}")
def show_agent(
    request: Request, someone: Someone, deps: Deps, session: Registry, name: str
) -> Response:
    """An agent: declaration, admission report, decision space, versions."""
    surface = deps.settings.surface
    row = agents.get(session, name)
    numbers = versions.of_agent(session, surface, name)
    serving = promotion.serving(session, surface)
    return pages_of(request).page(
        request,
        "agent.html",
        person=someone,
        row=row,
        spec=row.spec,
        checks=row.admission.get("checks", []),
        versions=numbers,
        inside=Graph.model_validate(serving.graph).agents().get(name) if serving else None,
        links={v.number: deps.tracking.version_url(v.model, v.number) for v in numbers},
    )
