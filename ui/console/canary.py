"""The canary's page: where it stands, what was decided, and the answer of a person."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from agenticrs.evolution import canary
from agenticrs.platform.errors import NotAllowed
from agenticrs.registry import canaries
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Approver, Someone, check_token
from agenticrs.ui.canary_view import canary_view
from agenticrs.ui.console.decisions import Text
from agenticrs.ui.console.rendering import Pages

router = APIRouter(include_in_schema=False)


@router.get("/canary")
def show_canary(request: Request, someone: Someone, deps: Deps, session: Registry) -> Response:
    """The last canary, its interval, and the history of its decisions."""
    row = canaries.latest(session, deps.settings.surface)
    pages: Pages = request.app.state.pages
    return pages.page(
        request,
        "canary.html",
        person=someone,
        row=row,
        view=canary_view(deps.engine, row),
        decisions=canaries.decisions(session, row),
    )


@router.post("/canary/answer")
def answer_canary(
    someone: Approver, deps: Deps, choice: Text = "", reason: Text = "", csrf: Text = ""
) -> Response:
    """Watch on, advance or roll back, with a reason."""
    check_token(someone.session, csrf)
    if choice not in canary.ANSWERS:
        raise NotAllowed("an answer is watch, advance or rollback", hint="use the page's buttons")
    canary.answer(
        deps.engine,
        deps.tracking,
        deps.settings.surface,
        canary.ANSWERS[choice],
        who=someone.name,
        reason=reason,
    )
    deps.serving.refresh()
    return RedirectResponse("/canary", 303)
