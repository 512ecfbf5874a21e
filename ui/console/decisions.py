"""What people change: decide, comment, roll back. Each needs a token and a reason."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Form, Response
from starlette.responses import RedirectResponse

from agenticrs.platform.errors import NotAllowed
from agenticrs.registry.proposals import Verdict
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Key
from agenticrs.ui.api.people import Approver, Operator, check_token

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=4000)]


@router.post("/proposals/{proposal_id}/decide")
def decide(
    someone: Approver,
    deps: Deps,
    proposal_id: Key,
    verdict: Text = "",
    reason: Text = "",
    csrf: Text = "",
) -> Response:
    """Approve or reject a waiting proposal, or ask for changes of it."""
    check_token(someone.session, csrf)
    if verdict not in ("approve", "reject", "request changes"):
        raise NotAllowed(
            "a decision is approve, reject or request changes", hint="use the page's buttons"
        )
    chosen = cast(Verdict, verdict)
    return _say(deps, proposal_id, chosen, someone.name, reason)


@router.post("/proposals/{proposal_id}/comment")
def comment(
    someone: Operator, deps: Deps, proposal_id: Key, reason: Text = "", csrf: Text = ""
) -> Response:
    """Say something about a waiting proposal, for whoever decides."""
    check_token(someone.session, csrf)
    return _say(deps, proposal_id, "comment", someone.name, reason)


@router.post("/rollback")
def rollback(
    someone: Operator, deps: Deps, to: Text = "", reason: Text = "", csrf: Text = ""
) -> Response:
    """Let an earlier composition serve again (none named = the one before)."""
    check_token(someone.session, csrf)
    if to and not (to.isascii() and to.isdecimal() and len(to) < 16):
        raise NotAllowed("that is no composition's number", hint="choose one from the list")
    deps.governance.rollback(to=int(to) if to else None, who=someone.name, reason=_reason(reason))
    deps.serving.refresh()
    return RedirectResponse("/", 303)


def _say(deps: AppDependencies, number: int, verdict: Verdict, who: str, reason: str) -> Response:
    deps.governance.decide(number, verdict=verdict, who=who, reason=_reason(reason))
    deps.serving.refresh()
    return RedirectResponse(f"/proposals/{number}", 303)


def _reason(text: str) -> str:
    if not text.strip():
        raise NotAllowed("a decision needs a reason", hint="go back and say why in a sentence")
    return text.strip()
