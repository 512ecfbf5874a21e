"""Cycles: the list, and one with its progress."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from agenticrs.registry import cycles
from agenticrs.ui.api.dependencies import Deps, Key, Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console import live
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)
Word = Annotated[str, Query(max_length=40)]


@router.get("/cycles")
def list_cycles(
    request: Request,
    someone: Someone,
    deps: Deps,
    session: Registry,
    state: Word = "",
    kind: Word = "",
    page: PageNumber = 1,
) -> Response:
    """Cycles, newest first."""
    surface, only = deps.settings.surface, {"state": state or None, "kind": kind or None}
    return pages_of(request).page(
        request,
        "cycles.html",
        person=someone,
        table=page_of(
            lambda limit, offset: cycles.list_all(session, surface, limit, offset, **only),
            total=cycles.count(session, surface, **only),
            number=page,
            path="/cycles",
            asked={"state": state, "kind": kind},
        ),
        states=cycles.STATES,
        kinds=cycles.kinds(session, surface),
        state_asked=state,
        kind_asked=kind,
    )


@router.get("/cycles/{cycle_id}")
def show_cycle(
    request: Request,
    someone: Someone,
    deps: Deps,
    cycle_id: Key,
    page: PageNumber = 1,
) -> Response:
    """A cycle with its progress."""
    values = live.with_links(live.cycle_values(deps.engine, cycle_id, page), deps)
    return pages_of(request).page(request, "cycle.html", person=someone, **values)
