"""The pages that are read: overview, agents, cycles, proposals, compositions, audit."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from agenticrs.platform.errors import NotFound
from agenticrs.registry import (
    agents,
    audit,
    canaries,
    compositions,
    cycles,
    promotion,
    proposals,
    versions,
)
from agenticrs.registry.graph import Graph
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console import graph_svg, live
from agenticrs.ui.console.evidence_view import evidence_view
from agenticrs.ui.console.rendering import Pages

router = APIRouter(include_in_schema=False)
Key = Annotated[int, Path(ge=1, le=2**53)]
AUDIT_PAGE = 50


@router.get("/")
def overview(request: Request, someone: Someone, deps: Deps, session: Registry) -> Response:
    """What serves now, the last cycles, what waits, the way back."""
    surface = deps.settings.surface
    serving = promotion.serving(session, surface)
    history = promotion.history(session, surface, limit=10)
    earlier = dict.fromkeys(row.after for row in history)
    status = deps.serving.status
    return _pages(request).page(
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
            roles=_roles(session),
        )
        if serving
        else "",
        history=history,
        earlier=[number for number in earlier if serving and number != serving.number],
        waiting=proposals.list_all(session, surface, "waiting"),
        canary=next(iter(canaries.all_of(session, surface, limit=1)), None),
        cycles=cycles.list_all(session, surface, limit=6),
        link=deps.tracking.version_url(serving.model, serving.number) if serving else None,
        counts={row.name: row.status for row in agents.list_all(session)},
    )


@router.get("/agents")
def list_agents(request: Request, someone: Someone, deps: Deps, session: Registry) -> Response:
    """Agents and tools."""
    surface = deps.settings.surface
    serving = promotion.serving(session, surface)
    rows = agents.list_all(session)
    return _pages(request).page(
        request,
        "agents.html",
        person=someone,
        rows=rows,
        counts={row.name: len(versions.of_agent(session, surface, row.name)) for row in rows},
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
    return _pages(request).page(
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


@router.get("/cycles")
def list_cycles(request: Request, someone: Someone, deps: Deps, session: Registry) -> Response:
    """Cycles, newest first."""
    rows = cycles.list_all(session, deps.settings.surface, limit=200)
    return _pages(request).page(request, "cycles.html", person=someone, rows=rows)


@router.get("/cycles/{cycle_id}")
def show_cycle(request: Request, someone: Someone, deps: Deps, cycle_id: Key) -> Response:
    """A cycle with its progress."""
    values = live.cycle_values(deps.engine, cycle_id)
    return _pages(request).page(request, "cycle.html", person=someone, **values)


@router.get("/proposals")
def list_proposals(request: Request, someone: Someone, deps: Deps, session: Registry) -> Response:
    """Proposals, newest first."""
    rows = proposals.list_all(session, deps.settings.surface)
    return _pages(request).page(request, "proposals.html", person=someone, rows=rows)


@router.get("/proposals/{proposal_id}")
def show_proposal(
    request: Request, someone: Someone, session: Registry, proposal_id: Key
) -> Response:
    """A proposal: graphs before and after, rewards, guardrails, cost, the decision."""
    row = proposals.get(session, proposal_id)
    after = Graph.model_validate(compositions.get(session, row.surface, row.after).graph)
    found = compositions.find(session, row.surface, row.before) if row.before else None
    before = Graph.model_validate(found.graph) if found else None
    old, new = graph_svg.changes(before, after) if before else ({}, {})
    roles = _roles(session)
    return _pages(request).page(
        request,
        "proposal.html",
        person=someone,
        row=row,
        evidence=evidence_view(row.evidence),
        decisions=proposals.decisions(session, proposal_id),
        picture_before=graph_svg.draw(
            before,
            name="before",
            title=f"Composition {row.before}, before",
            roles=roles,
            marks=old,
            direction="down",
        )
        if before
        else "",
        picture_after=graph_svg.draw(
            after,
            name="after",
            title=f"Composition {row.after}, after",
            roles=roles,
            marks=new,
            direction="down",
        ),
    )


@router.get("/compositions/{number}")
def show_composition(
    request: Request, someone: Someone, deps: Deps, session: Registry, number: Key
) -> Response:
    """A composition: its graph, members and metrics."""
    surface = deps.settings.surface
    row = compositions.find(session, surface, number)
    if row is None:
        raise NotFound(f"there is no composition {number}", hint="the overview lists what served")
    graph = Graph.model_validate(row.graph)
    serving = promotion.serving(session, surface)
    return _pages(request).page(
        request,
        "composition.html",
        person=someone,
        row=row,
        graph=graph,
        serves=serving is not None and serving.number == number,
        picture=graph_svg.draw(
            graph, name="composition", title=f"Composition {number}", roles=_roles(session)
        ),
        link=deps.tracking.version_url(row.model, row.number),
    )


@router.get("/audit")
def show_audit(
    request: Request,
    someone: Someone,
    session: Registry,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Response:
    """Who changed what, when and why, newest first."""
    rows = audit.entries(session, AUDIT_PAGE + 1, before)
    shown = rows[:AUDIT_PAGE]
    older = shown[-1].id if len(rows) > AUDIT_PAGE else None
    return _pages(request).page(
        request, "audit.html", person=someone, rows=shown, older=older, newest=before is None
    )


def _pages(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


def _roles(session: Registry) -> dict[str, str]:
    return {row.name: row.role for row in agents.list_all(session)}
