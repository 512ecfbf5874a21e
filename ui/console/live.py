"""Pages that keep up to date: one part of each is sent again whenever it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from agenticrs.platform.errors import NotFound
from agenticrs.ui.api.credentials import Person
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Key
from agenticrs.ui.api.people import Someone
from agenticrs.ui.api.sessions import COOKIE, Sessions
from agenticrs.ui.console.canary import canary_values
from agenticrs.ui.console.cycles import Word, cycle_values, cycles_list, with_links
from agenticrs.ui.console.experiments import experiment_values, experiments_list
from agenticrs.ui.console.overview import overview_values
from agenticrs.ui.console.paging import PageNumber
from agenticrs.ui.console.proposals import list_values, proposal_values
from agenticrs.ui.console.rendering import Pages, pages_of
from agenticrs.ui.console.schedules import Name, schedule_values, schedules_list

router = APIRouter(include_in_schema=False)
_HEARTBEAT = 15.0
"""Seconds after which silence is broken by a comment, so that no proxy closes the connection."""
_CALM = 5
"""All but a cycle change seldom, and looking costs more: they are looked at so much less often."""
Values = Mapping[str, Any]


@router.get("/events")
async def overview_events(request: Request, someone: Someone, deps: Deps) -> StreamingResponse:
    """The overview's live part, for as long as somebody looks at it."""
    return await _stream(
        request,
        someone,
        deps,
        "overview_live.html",
        lambda: overview_values(deps, someone),
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


@router.get("/cycles/events")
async def cycles_events(
    request: Request,
    someone: Someone,
    deps: Deps,
    state: Word = "",
    kind: Word = "",
    page: PageNumber = 1,
) -> StreamingResponse:
    """The list of cycles, for as long as somebody looks at it."""
    return await _stream(
        request,
        someone,
        deps,
        "cycles_live.html",
        lambda: cycles_list(deps, state, kind, page),
        lambda _: False,
        pause=_CALM * deps.live_seconds,
    )


@router.get("/experiments/events")
async def experiments_events(
    request: Request, someone: Someone, deps: Deps, page: PageNumber = 1
) -> StreamingResponse:
    """The list of experiments, for as long as somebody looks at it."""
    return await _stream(
        request,
        someone,
        deps,
        "experiments_live.html",
        lambda: experiments_list(deps, page),
        lambda _: False,
        pause=_CALM * deps.live_seconds,
    )


@router.get("/experiments/{number}/events")
async def experiment_events(
    request: Request, someone: Someone, deps: Deps, number: Key
) -> StreamingResponse:
    """An experiment, until it is concluded."""
    return await _stream(
        request,
        someone,
        deps,
        "experiment_live.html",
        lambda: experiment_values(deps, number),
        lambda values: values["view"].state != "running",
        pause=_CALM * deps.live_seconds,
    )


# A schedule may have the name "events", but none begins with a hyphen.
@router.get("/schedules/-/events")
async def schedules_events(
    request: Request, someone: Someone, deps: Deps, page: PageNumber = 1
) -> StreamingResponse:
    """The list of schedules and what they did, for as long as somebody looks at it."""
    return await _stream(
        request,
        someone,
        deps,
        "schedules_live.html",
        lambda: schedules_list(deps, page),
        lambda _: False,
        pause=_CALM * deps.live_seconds,
    )


@router.get("/schedules/{name}/events")
async def schedule_events(
    request: Request, someone: Someone, deps: Deps, name: Name, page: PageNumber = 1
) -> StreamingResponse:
    """A schedule, until it is removed."""
    return await _stream(
        request,
        someone,
        deps,
        "schedule_live.html",
        lambda: schedule_values(deps, name, page),
        lambda _: False,
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
            try:
                values = await run_in_threadpool(look)
            except NotFound:  # it was removed
                return

    unbuffered = {"X-Accel-Buffering": "no"}  # a proxy before us hands each event on at once
    return StreamingResponse(events(), media_type="text/event-stream", headers=unbuffered)
