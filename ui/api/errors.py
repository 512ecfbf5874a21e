"""How errors are answered: JSON for programs, a page for people, one status for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Match

from agenticrs.evolution.scheduling.spec import InvalidSchedule
from agenticrs.platform.database import is_away
from agenticrs.platform.errors import (
    AgenticRSError,
    Conflict,
    NotAllowed,
    NotFound,
    TrackingError,
    UnknownDataset,
)
from agenticrs.platform.logs import get_logger
from agenticrs.ui.api.credentials import LoginNeeded, TooManyAttempts
from agenticrs.ui.api.identity import ProviderAway
from agenticrs.ui.batches import Overloaded
from agenticrs.ui.serving import NothingServes

STATUS: dict[type[AgenticRSError], int] = {
    LoginNeeded: 401,
    TooManyAttempts: 429,
    NothingServes: 503,
    ProviderAway: 503,
    Overloaded: 503,
    NotFound: 404,
    UnknownDataset: 404,
    Conflict: 409,
    InvalidSchedule: 422,
    NotAllowed: 403,
    TrackingError: 503,
}
"""Status of an error; any other AgenticRSError is 400."""
_FOR_PROGRAMS = ("/v1/", "/healthz", "/metrics")
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_log = get_logger(__name__)
_HINTS = {
    400: "send what the content type says, in UTF-8, and not nested too deeply",
    404: "see /v1/openapi.json for what there is",
    405: "the header Allow names the methods that there are",
    413: "send smaller batches",
}


@dataclass
class Problem:
    """What to tell about a request that is not answered."""

    status: int
    error: str
    hint: str = ""
    fields: Sequence[dict[str, str]] = ()
    headers: dict[str, str] | None = None
    cause: str = ""


def install(app: FastAPI) -> None:
    """Answer every kind of error of the app."""
    app.add_exception_handler(AgenticRSError, _intended)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DataError, _unkeepable)
    app.add_exception_handler(SQLAlchemyError, _away)
    app.add_exception_handler(HTTPException, _http)


def answer(request: Request, problem: Problem) -> Response:
    """The problem as JSON, or as a page of the console."""
    page = getattr(request.app.state, "error_page", None)
    if page is None or request.url.path.startswith(_FOR_PROGRAMS):
        body: dict[str, Any] = {"error": problem.error, "hint": problem.hint}
        if problem.fields:
            body["fields"] = list(problem.fields)
        return JSONResponse(body, problem.status, headers=problem.headers)
    shown: Response = page(request, problem)
    return shown


def invalid_field(field: tuple[str | int, ...], message: str) -> RequestValidationError:
    """An error that names a field of the body, as pydantic's own do."""
    return RequestValidationError([{"loc": ("body", *field), "msg": message, "type": "value"}])


def problem_of(error: AgenticRSError) -> Problem:
    """Status and words for an intended error."""
    status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 400)
    headers = {}
    if isinstance(error, TooManyAttempts):
        headers["Retry-After"] = str(error.seconds)
    if isinstance(error, Overloaded):
        headers["Retry-After"] = "1"
    if isinstance(error, LoginNeeded):
        headers["WWW-Authenticate"] = 'Basic realm="AgenticRS", charset="UTF-8"'
    fields = error.fields.items() if isinstance(error, InvalidSchedule) else ()
    named = [{"field": name, "problem": problem} for name, problem in fields]
    return Problem(status, error.message, error.hint, fields=named, headers=headers)


async def _intended(request: Request, error: Exception) -> Response:
    if not isinstance(error, AgenticRSError):
        raise error
    for_people = not request.url.path.startswith(_FOR_PROGRAMS)
    if isinstance(error, LoginNeeded) and for_people:
        back = request.url.path if request.method == "GET" else "/"
        return RedirectResponse(f"/login?next={quote(back)}", 303)
    return answer(request, problem_of(error))


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    # The values are not repeated: they may be secrets, or megabytes.
    fields = [
        {"field": _name(found["loc"]), "problem": str(found["msg"]).removeprefix("Value error, ")}
        for found in error.errors()[:50]
    ]
    first = fields[0]
    text = f"the request is not valid: {first['field']}: {first['problem']}"
    return answer(request, Problem(422, text, "correct the named fields", fields=fields))


async def _unkeepable(request: Request, _error: Exception) -> Response:
    # PostgreSQL takes no zero byte in a text and no number beyond its columns; SQLite takes both.
    hint = "leave out zero bytes, and numbers beyond all measure"
    return answer(request, Problem(422, "the database cannot hold a value of the request", hint))


async def _away(request: Request, error: Exception) -> Response:
    if not is_away(error):
        raise error
    _log.warning("the database does not answer", path=request.url.path, error=str(error))
    problem = Problem(
        503, "the database does not answer now", "come again", headers={"Retry-After": "1"}
    )
    return answer(request, problem)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    problem = Problem(
        error.status_code,
        str(error.detail).lower(),
        _HINTS.get(error.status_code, ""),
        headers=headers,
    )
    return answer(request, problem)


def _allowed(request: Request) -> list[str]:
    """The methods of all routes with that path; a router names those of the first one alone."""
    routes = request.app.router.routes
    asked = [{**request.scope, "method": method} for method in _METHODS]
    return [
        str(scope["method"])
        for scope in asked
        if any(route.matches(scope)[0] is Match.FULL for route in routes)
    ]


def _name(place: Sequence[str | int]) -> str:
    inside = place[1:] if place and place[0] in ("body", "query", "path", "header") else place
    return ".".join(str(part) for part in inside) or "body"
