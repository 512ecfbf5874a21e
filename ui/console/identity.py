"""The way to an identity provider, and back from it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotFound
from agenticrs.registry import accounts
from agenticrs.ui.api.credentials import LoginNeeded
from agenticrs.ui.api.dependencies import AppDependencies, Deps
from agenticrs.ui.api.identity import COOKIE, MINUTES, Identity, Provider
from agenticrs.ui.api.sessions import COOKIE as SESSION_COOKIE
from agenticrs.ui.api.sessions import LIFETIME, Sessions, session_key
from agenticrs.ui.console.entrance import inside, login_page
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)
_BACK = "/login/provider/back"


@router.get("/login/provider")
def leave(request: Request, deps: Deps, next: str = "/") -> Response:
    """Send somebody to the provider."""
    address, cookie = _provider(deps).begin(_back(request, deps), inside(next))
    answer = RedirectResponse(address, 303)
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=MINUTES * 60,
        httponly=True,
        samesite="lax",  # it must come back with somebody whom another site sends
        secure=request.url.scheme == "https",
        path="/login",
    )
    return answer


@router.get(_BACK)
async def come_back(request: Request, deps: Deps) -> Response:
    """Begin a session for whom the provider vouches."""
    cookie, told = request.cookies.get(COOKIE, ""), dict(request.query_params)
    try:
        found, name = await run_in_threadpool(_entered, request, deps, cookie, told)
    except LoginNeeded as error:
        return login_page(request, "/", error=error.message, status=401)
    # A cookie that is strictly ours is not sent with a redirect that began elsewhere: the page
    # that answers goes on by itself.
    answer = pages_of(request).page(request, "entered.html", person=None, next=inside(found.next))
    sessions: Sessions = request.app.state.sessions
    _, made = await run_in_threadpool(sessions.begin, name)
    answer.set_cookie(
        SESSION_COOKIE,
        made,
        max_age=LIFETIME,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    answer.delete_cookie(COOKIE, path="/login")
    return answer


def _entered(
    request: Request, deps: AppDependencies, cookie: str, told: dict[str, str]
) -> tuple[Identity, str]:
    found = _provider(deps).finish(cookie, told, _back(request, deps))
    sessions: Sessions = request.app.state.sessions
    earlier = sessions.read(request.cookies.get(SESSION_COOKIE))
    if earlier is not None and earlier.name:
        sessions.end(earlier)
    with session_scope(deps.engine) as session:
        return found, accounts.enter(session, found.name, found.subject, found.role).name


def _back(request: Request, deps: AppDependencies) -> str:
    base = deps.settings.public_url or str(request.base_url)
    return base.rstrip("/") + _BACK


def _provider(deps: AppDependencies) -> Provider:
    if deps.settings.oidc_issuer is None:
        raise NotFound("there is no identity provider", hint="set AGENTICRS_OIDC_ISSUER")
    return Provider(deps.settings, session_key(deps.settings.home))
