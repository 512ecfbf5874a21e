"""Compositions: the list, one with its graph, and two beside each other."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from agenticrs.platform.errors import NotFound
from agenticrs.registry import agents, compositions, promotion, proposals
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import CompositionRow
from agenticrs.ui.api.dependencies import Deps, Key, Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console import graph_svg
from agenticrs.ui.console.difference import difference_view
from agenticrs.ui.console.members import members_of
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)


@router.get("/compositions")
def list_compositions(
    request: Request, someone: Someone, deps: Deps, session: Registry, page: PageNumber = 1
) -> Response:
    """All of the surface, newest first; two of them can be chosen and compared."""
    surface = deps.settings.surface
    serving = promotion.serving(session, surface)
    table = page_of(
        lambda limit, offset: compositions.all_of(session, surface, limit, offset),
        total=compositions.count(session, surface),
        number=page,
        path="/compositions",
        size=25,
    )
    return pages_of(request).page(
        request,
        "compositions.html",
        person=someone,
        table=table,
        members={row.number: Graph.model_validate(row.graph).agents() for row in table.rows},
        served={row.after for row in promotion.history(session, surface, limit=1000)},
        serving=serving.number if serving else None,
    )


@router.get("/compositions/compare")
def compare(
    request: Request,
    someone: Someone,
    deps: Deps,
    session: Registry,
    before: Annotated[int, Query(ge=1, le=2**53)],
    after: Annotated[int, Query(ge=1, le=2**53)],
) -> Response:
    """Two compositions beside each other, with the evidence of a proposal from one to the other."""
    surface = deps.settings.surface
    one, other = _get(session, surface, before), _get(session, surface, after)
    proposal = proposals.between(session, surface, before, after)
    return pages_of(request).page(
        request,
        "compare.html",
        person=someone,
        difference=difference_view(session, deps.settings.home, one, other, proposal),
        proposal=proposal,
        numbers=[row.number for row in compositions.all_of(session, surface)],
        before=before,
        after=after,
    )


@router.get("/compositions/{number}")
def show_composition(
    request: Request, someone: Someone, deps: Deps, session: Registry, number: Key
) -> Response:
    """A composition: its graph, members and metrics."""
    surface = deps.settings.surface
    row = _get(session, surface, number)
    graph = Graph.model_validate(row.graph)
    serving = promotion.serving(session, surface)
    return pages_of(request).page(
        request,
        "composition.html",
        person=someone,
        row=row,
        graph=graph,
        members=members_of(session, deps, row),
        serving=serving.number if serving else None,
        picture=graph_svg.draw(
            graph,
            name="composition",
            title=f"Composition {number}",
            roles=agents.roles(session),
            linked=True,
        ),
        link=deps.tracking.version_url(row.model, row.number),
        run=deps.tracking.run_url(row.run_id),
    )


def _get(session: Registry, surface: str, number: int) -> CompositionRow:
    row = compositions.find(session, surface, number)
    if row is None:
        raise NotFound(f"there is no composition {number}", hint="/compositions lists them all")
    return row
