"""Choosing light or dark: an ordinary form, so that it works without a script."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from agenticrs.ui.api.people import Someone, check_token
from agenticrs.ui.console.entrance import inside
from agenticrs.ui.console.theme import COOKIE, THEMES

router = APIRouter(include_in_schema=False)
_YEAR = 365 * 86400
Text = Annotated[str, Form(max_length=4000)]


@router.post("/theme")
def choose(
    request: Request, someone: Someone, theme: Text = "", csrf: Text = "", next: Text = "/"
) -> Response:
    """Keep the reader's choice; anything but light and dark is the system's."""
    check_token(someone.session, csrf)
    answer = RedirectResponse(inside(next), 303)
    if theme not in THEMES:
        answer.delete_cookie(COOKIE)
        return answer
    answer.set_cookie(
        COOKIE,
        theme,
        max_age=_YEAR,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer
