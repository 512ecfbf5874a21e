"""Logging in and out. The login form too carries a token, bound to a cookie of its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from agenticrs.platform.errors import NotAllowed
from agenticrs.ui.api.credentials import LoginNeeded, TooManyAttempts, check_password
from agenticrs.ui.api.dependencies import get_dependencies
from agenticrs.ui.api.people import Viewer, check_token
from agenticrs.ui.api.sessions import COOKIE, LIFETIME, LOGIN_COOKIE, Sessions
from agenticrs.ui.console.rendering import Pages

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=4000)]


@router.get("/login")
def login_form(request: Request, next: str = "/") -> Response:
    """The way in."""
    return login_page(request, next)


@router.post("/login")
def login(
    request: Request, name: Text = "", password: Text = "", csrf: Text = "", next: Text = "/"
) -> Response:
    """Check the password and begin a new session."""
    sessions: Sessions = request.app.state.sessions
    waiting = sessions.read(request.cookies.get(LOGIN_COOKIE))
    try:
        check_token(waiting, csrf)
        found = check_password(request, name, password)
    except LoginNeeded as error:
        return login_page(request, next, name=name, error=error.message, status=401)
    except TooManyAttempts as error:
        said = f"{error.message}: {error.hint}"
        return login_page(request, next, name=name, error=said, status=429, wait=error.seconds)
    except NotAllowed:
        return login_page(
            request, next, name=name, error="the form was too old: try again", status=403
        )
    _end_earlier(request)
    answer = RedirectResponse(inside(next), 303)
    _set(request, answer, COOKIE, sessions.begin(found.name)[1])
    answer.delete_cookie(LOGIN_COOKIE)
    return answer


@router.post("/logout")
def logout(request: Request, someone: Viewer, csrf: Text = "") -> Response:
    """End the session: its cookie counts no more, wherever a copy of it may be."""
    check_token(someone.session, csrf)
    sessions: Sessions = request.app.state.sessions
    if someone.session is not None:
        sessions.end(someone.session)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def _end_earlier(request: Request) -> None:
    """Whoever logs in again leaves no second session behind, and keeps no one else's."""
    sessions: Sessions = request.app.state.sessions
    earlier = sessions.read(request.cookies.get(COOKIE))
    if earlier is not None:
        sessions.end(earlier)


def inside(target: str) -> str:
    """Only paths of our own: nobody is sent to another host."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if safe and target.isprintable() else "/"


def login_page(
    request: Request,
    next: str,
    *,
    name: str = "",
    error: str = "",
    status: int = 200,
    wait: int = 0,
) -> Response:
    """The form, with what went wrong before; each one has a token of its own."""
    sessions: Sessions = request.app.state.sessions
    pages: Pages = request.app.state.pages
    session, cookie = sessions.begin()
    page = pages.page(
        request,
        "login.html",
        person=None,
        status=status,
        headers={"Retry-After": str(wait)} if wait else None,
        next=inside(next),
        name=name,
        error=error,
        token=session.csrf,
        provider=get_dependencies(request).settings.oidc_issuer,
    )
    _set(request, page, LOGIN_COOKIE, cookie)
    return page


def _set(request: Request, answer: Response, name: str, value: str) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=LIFETIME,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
