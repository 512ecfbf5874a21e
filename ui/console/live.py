"""Pages that keep up to date: one part of each is sent again whenever it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, proposals, trials
from agenticrs.ui.api.credentials import Person
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Key
from agenticrs.ui.api.people import Someone
from agenticrs.ui.api.sessions import COOKIE, Sessions
from agenticrs.ui.console import curves
from agenticrs.ui.console.canary import canary_values
from agenticrs.ui.console.overview import overview_values
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.proposals import list_values, proposal_values
from agenticrs.ui.console.rendering import Pages, pages_of
from agenticrs.ui.console.timeline import timeline

router = APIRouter(include_in_schema=False)
STEPS = ("sense", "plan", "propose", "evaluate", "select", "approve", "promote", "observe")
TRIALS = 100
"""Trials on a page of a cycle."""
_HEARTBEAT = 15.0
"""Seconds after which silence is broken by a comment, so that no proxy closes the connection."""
_CALM = 5
"""All but cycles change seldom, and looking costs more: they are looked at so much less often."""
Values = Mapping[str, Any]


@router.get("/events")
async def overview_events(request: Request, someone: Someone, deps: Deps) -> StreamingResponse:
    """The overview's live part, for as long as somebody looks at it."""
    return await _stream(
        request,
        someone,
        deps,
        "overview_live.html",
        lambda: overview_values(deps),
        lambda _: False,
        pause=_CALM * deps.live_seconds,
    )


@router.get("/cycles/{cycle_id}/events")
async def cycle_events(
    request: Request,
    someone: Someone,
    deps: Deps,
    cycle_id: Key,
    page: PageNumber = 1,
) -> StreamingResponse:
    """The cycle's live part, until the cycle ends."""
    return await _stream(
        request,
        someone,
        deps,
        "cycle_live.html",
        lambda: with_links(cycle_values(deps.engine, cycle_id, page), deps),
        lambda values: values["cycle"].state != "running",
        pause=deps.live_seconds,
    )


@router.get("/proposals/events")
async def proposals_events(
    request: Request, someone: Someone, deps: Deps, page: PageNumber = 1
) -> StreamingResponse:
    """The list of proposals, for as long as somebody looks at it."""
    return await _stream(
        request,
        someone,
        deps,
        "proposals_live.html",
        lambda: list_values(deps, page),
        lambda _: False,
        pause=_CALM * deps.live_seconds,
    )


@router.get("/proposals/{proposal_id}/events")
async def proposal_events(
    request: Request, someone: Someone, deps: Deps, proposal_id: Key
) -> StreamingResponse:
    """A proposal and what people say to it, until it no longer waits."""
    return await _stream(
        request,
        someone,
        deps,
        "proposal_live.html",
        lambda: proposal_values(deps, proposal_id, someone),
        lambda values: values["row"].state != "waiting",
        pause=_CALM * deps.live_seconds,
    )


@router.get("/canaries/{number}/events")
async def canary_events(
    request: Request, someone: Someone, deps: Deps, number: Key, page: PageNumber = 1
) -> StreamingResponse:
    """A canary, until it is over."""
    return await _stream(
        request,
        someone,
        deps,
        "canary_live.html",
        lambda: canary_values(deps, number, page),
        lambda values: not values["view"].under_way,
        pause=_CALM * deps.live_seconds,
    )


async def _stream(
    request: Request,
    someone: Person,
    deps: AppDependencies,
    template: str,
    look: Callable[[], Values],
    ended: Callable[[Values], bool],
    *,
    pause: float,
) -> StreamingResponse:
    """Server-sent events: the fragment whenever it has changed, until it has ended.

    ``pause``: seconds between two looks.
    """
    pages: Pages = pages_of(request)
    sessions: Sessions = request.app.state.sessions
    cookie = request.cookies.get(COOKIE)
    csrf = someone.session.csrf if someone.session else ""
    first = await run_in_threadpool(look)

    async def events() -> AsyncIterator[str]:
        values, last, silent = first, "", 0.0
        while True:
            html = pages.fragment(template, person=someone, csrf=csrf, **values)
            if html != last:
                last, silent = html, 0.0
                yield "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"
            elif silent >= _HEARTBEAT:
                silent = 0.0
                yield ": still here\n\n"
            if ended(values):
                yield "event: end\ndata: end\n\n"
                return
            await asyncio.sleep(pause)
            if someone.session is not None and not await run_in_threadpool(
                sessions.read, cookie, counts=False
            ):
                return  # logged out, or too old: an open page shows nothing more
            silent += pause
            values = await run_in_threadpool(look)

    return StreamingResponse(events(), media_type="text/event-stream")


def cycle_values(engine: Engine, cycle_id: int, page: int = 1) -> dict[str, Any]:
    """What the cycle's page shows. Raises NotFound."""
    with session_scope(engine) as session:
        row = cycles.get(session, cycle_id)
        begun = {step.name: step for step in cycles.steps(session, cycle_id)}
        tried = trials.of_cycle(session, cycle_id)
        proposal = proposals.of_cycle(session, cycle_id)
        decisions = proposals.decisions(session, proposal.id or 0) if proposal else []
    # Steps of a kind that this release does not know come last.
    names = [*STEPS, *(name for name in begun if name not in STEPS)]
    best: dict[str, float] = {}
    for trial in tried:
        if trial.reward is not None and trial.state == "done":
            best[trial.agent] = max(trial.reward, best.get(trial.agent, trial.reward))
    return {
        "cycle": row,
        "steps": [(name, begun.get(name)) for name in names],
        "table": page_of(
            lambda limit, offset: tried[offset : offset + limit],
            total=len(tried),
            number=page,
            path=f"/cycles/{cycle_id}",
            size=TRIALS,
        ),
        "curves": curves.of_cycle(tried),
        "best": best,
        "states": {s: sum(t.state == s for t in tried) for s in sorted({t.state for t in tried})},
        "seconds": sum(trial.seconds for trial in tried),
        "proposal": proposal,
        "log": timeline(row, list(begun.values()), tried, decisions),
    }


def with_links(values: dict[str, Any], deps: AppDependencies) -> dict[str, Any]:
    """The values with where MLflow shows each run, for those trials that have one."""
    rows = values["table"].rows
    found = {row.id: deps.tracking.run_url(row.run_id) for row in rows if row.run_id}
    return values | {"runs": {number: link for number, link in found.items() if link}}
