"""Canaries: where the last one stands, what was decided, earlier ones, the answer of a person."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from agenticrs.agents.experimentation.canary import Canary
from agenticrs.evolution.canaries import rollout
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotAllowed
from agenticrs.registry import canaries
from agenticrs.ui.api.credentials import Person
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Key, Registry
from agenticrs.ui.api.people import Approver, Someone, check_token
from agenticrs.ui.canary_view import canary_view
from agenticrs.ui.console import forest_svg
from agenticrs.ui.console.decisions import Text
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)


@router.get("/canary")
def show_canary(
    request: Request, someone: Someone, deps: Deps, session: Registry, page: PageNumber = 1
) -> Response:
    """The last canary, its interval, and the history of its decisions."""
    row = next(iter(canaries.all_of(session, deps.settings.surface, limit=1)), None)
    if row is None:
        return pages_of(request).page(request, "no_canary.html", person=someone)
    return _page(request, someone, deps, row.id or 0, page)


@router.get("/canaries/{number}")
def show_earlier(
    request: Request,
    someone: Someone,
    deps: Deps,
    number: Key,
    page: PageNumber = 1,
) -> Response:
    """A canary of earlier."""
    return _page(request, someone, deps, number, page)


@router.post("/canary/answer")
def answer_canary(
    someone: Approver, deps: Deps, choice: Text = "", reason: Text = "", csrf: Text = ""
) -> Response:
    """Watch on, advance or roll back, with a reason."""
    check_token(someone.session, csrf)
    if choice not in rollout.ANSWERS:
        raise NotAllowed("an answer is watch, advance or rollback", hint="use the page's buttons")
    rollout.answer(
        deps.engine,
        deps.tracking,
        deps.settings.surface,
        rollout.ANSWERS[choice],
        who=someone.name,
        reason=reason,
    )
    deps.serving.refresh()
    return RedirectResponse("/canary", 303)


def canary_values(deps: AppDependencies, number: int, page: int = 1) -> dict[str, Any]:
    """What the page of a canary shows. Raises NotFound."""
    with session_scope(deps.engine) as session:
        surface = deps.settings.surface
        row = canaries.get(session, surface, number)
        decisions = canaries.decisions(session, row)
        table = page_of(
            lambda limit, offset: canaries.all_of(session, surface, limit, offset),
            total=canaries.count(session, surface),
            number=page,
            path=f"/canaries/{number}",
            size=20,
        )
    view = canary_view(deps.engine, row)
    state = Canary.model_validate(row.ladder)
    return {
        "row": row,
        "view": view,
        "picture": forest_svg.draw(view.metrics, name="gains"),
        "stages": [
            (share, _stage(state, place)) for place, share in enumerate(state.ladder.stages)
        ],
        "decisions": decisions,
        "table": table,
    }


def _page(
    request: Request, someone: Person, deps: AppDependencies, number: int, page: int
) -> Response:
    values = canary_values(deps, number, page)
    return pages_of(request).page(request, "canary.html", person=someone, **values)


def _stage(state: Canary, place: int) -> str:
    """Whether a stage of the ladder is over, under way, ahead, or where it ended."""
    if place < state.stage or state.status == "promoted":
        return "done"
    if place > state.stage:
        return "ahead"
    ended = {"rolled back": "failed", "paused": "waiting"}
    return ended.get(state.status, "running")
