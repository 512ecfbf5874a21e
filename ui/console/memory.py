"""The empirical memory: what was tried before, why, and what came of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from agenticrs.registry import memory
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)
VERDICTS = (
    *("promoted", "better", "worse", "pruned", "failed"),
    *("approved", "rejected", "changes requested"),
)
MOST = 1000
"""Entries that are ranked; further ones fit less than these."""
SIZE = 25


@router.get("/memory")
def search_memory(
    request: Request,
    someone: Someone,
    deps: Deps,
    session: Registry,
    words: Annotated[str, Query(max_length=400)] = "",
    agent: Annotated[str, Query(max_length=40)] = "",
    verdict: Annotated[str, Query(max_length=20)] = "",
    page: PageNumber = 1,
) -> Response:
    """The entries that fit best; without words the newest."""
    surface = deps.settings.surface
    found = memory.search(
        session,
        surface,
        words,
        agent=agent or None,
        verdicts=(verdict,) if verdict else (),
        limit=MOST,
    )
    return pages_of(request).page(
        request,
        "memory.html",
        person=someone,
        table=page_of(
            lambda limit, offset: found[offset : offset + limit],
            total=len(found),
            number=page,
            path="/memory",
            size=SIZE,
            asked={"words": words, "agent": agent, "verdict": verdict},
        ),
        agents=memory.agents(session, surface),
        verdicts=VERDICTS,
        words=words,
        agent=agent,
        verdict=verdict,
    )
