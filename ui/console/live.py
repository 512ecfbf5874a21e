"""Progress of a cycle: the values of its page, and the events that keep an open page up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, proposals, trials
from agenticrs.ui.api.dependencies import Deps
from agenticrs.ui.api.people import Someone
from agenticrs.ui.api.sessions import COOKIE, Sessions
from agenticrs.ui.console.rendering import Pages

router = APIRouter(include_in_schema=False)
STEPS = ("sense", "plan", "propose", "evaluate", "select", "approve", "promote", "observe")
_HEARTBEAT = 15.0
"""Seconds after which silence is broken by a comment, so that no proxy closes the connection."""


@router.get("/cycles/{cycle_id}/events")
async def cycle_events(
    request: Request, someone: Someone, deps: Deps, cycle_id: Annotated[int, Path(ge=1, le=2**53)]
) -> StreamingResponse:
    """The page's live part as server-sent events: whenever it has changed, until the cycle ends."""
    pages: Pages = request.app.state.pages
    sessions: Sessions = request.app.state.sessions
    cookie = request.cookies.get(COOKIE)
    first = await run_in_threadpool(cycle_values, deps.engine, cycle_id)

    async def events() -> AsyncIterator[str]:
        values, last, silent = first, "", 0.0
        while True:
            html = pages.fragment("cycle_live.html", **values)
            if html != last:
                last, silent = html, 0.0
                yield "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"
            elif silent >= _HEARTBEAT:
                silent = 0.0
                yield ": still here\n\n"
            if values["cycle"].state != "running":
                yield "event: end\ndata: end\n\n"
                return
            await asyncio.sleep(deps.live_seconds)
            if someone.session is not None and not await run_in_threadpool(
                sessions.read, cookie, counts=False
            ):
                return  # logged out, or too old: an open page shows nothing more
            silent += deps.live_seconds
            values = await run_in_threadpool(cycle_values, deps.engine, cycle_id)

    return StreamingResponse(events(), media_type="text/event-stream")


def cycle_values(engine: Engine, cycle_id: int) -> dict[str, Any]:
    """What the cycle's page shows. Raises NotFound."""
    with session_scope(engine) as session:
        row = cycles.get(session, cycle_id)
        begun = {step.name: step for step in cycles.steps(session, cycle_id)}
        tried = trials.of_cycle(session, cycle_id)
        proposal = proposals.of_cycle(session, cycle_id)
    # Steps of a kind that this release does not know come last.
    names = [*STEPS, *(name for name in begun if name not in STEPS)]
    best: dict[str, float] = {}
    for trial in tried:
        if trial.reward is not None and trial.state == "done":
            best[trial.agent] = max(trial.reward, best.get(trial.agent, trial.reward))
    return {
        "cycle": row,
        "steps": [(name, begun.get(name)) for name in names],
        "trials": tried,
        "best": best,
        "states": {s: sum(t.state == s for t in tried) for s in sorted({t.state for t in tried})},
        "seconds": sum(trial.seconds for trial in tried),
        "proposal": proposal,
    }
