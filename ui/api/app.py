"""The application: API and console in one process, with limits and security headers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from importlib.resources import files

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from agenticrs.platform.errors import AgenticRSError, Conflict, NotAllowed, NotFound
from agenticrs.ui.api import v1
from agenticrs.ui.api.dependencies import AppDependencies
from agenticrs.ui.api.metrics import Metrics
from agenticrs.ui.api.sessions import Sessions
from agenticrs.ui.console import pages
from agenticrs.ui.serving import NothingServes

LARGEST_BODY = 1_000_000
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
Next = Callable[[Request], Awaitable[Response]]


def create_app(parts: AppDependencies) -> FastAPI:
    """The application over these parts; nothing of it is global."""
    app = FastAPI(
        title="AgenticRS",
        version=version("agenticrs"),
        # The interactive documentation loads scripts from another host: the schema itself is
        # at /openapi.json, for any client.
        docs_url=None,
        redoc_url=None,
    )
    app.state.dependencies = parts
    app.state.metrics = Metrics()
    app.state.sessions = Sessions(parts.settings.home / "run" / "session.key")
    app.include_router(v1.router)
    app.include_router(pages.router)
    static = str(files("agenticrs.ui").joinpath("static"))
    app.mount("/static", StaticFiles(directory=static), name="static")
    app.add_exception_handler(AgenticRSError, _intended)
    app.add_exception_handler(HTTPException, _refused)
    app.middleware("http")(_guard)
    hosts = ["127.0.0.1", "localhost", "testserver", parts.settings.host]
    allowed = ["*"] if parts.settings.host in ("0.0.0.0", "::") else hosts  # noqa: S104
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed)
    return app


async def _guard(request: Request, call_next: Next) -> Response:
    begin = time.perf_counter()
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > LARGEST_BODY:
        response: Response = JSONResponse(
            {"error": f"the body is larger than {LARGEST_BODY} bytes", "hint": "send less at once"},
            413,
        )
    else:
        response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers[name] = value
    metrics: Metrics = request.app.state.metrics
    route = getattr(request.scope.get("route"), "path", "unmatched")
    metrics.requests.labels(route, response.status_code).inc()
    metrics.seconds.labels(route).observe(time.perf_counter() - begin)
    return response


def _intended(request: Request, error: Exception) -> Response:
    if not isinstance(error, AgenticRSError):
        raise error
    status = 400
    for kind, code in (
        (NothingServes, 503),
        (NotFound, 404),
        (Conflict, 409),
        (NotAllowed, 403),
    ):
        if isinstance(error, kind):
            status = code
            break
    if _is_page(request):
        return pages.error_page(request, status, error.message, error.hint)
    return JSONResponse({"error": error.message, "hint": error.hint}, status)


def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if _is_page(request):
        if error.status_code == 401:
            return RedirectResponse(f"/login?next={request.url.path}", 303)
        return pages.error_page(request, error.status_code, str(error.detail), "")
    return JSONResponse({"error": str(error.detail), "hint": ""}, error.status_code, error.headers)


def _is_page(request: Request) -> bool:
    return not request.url.path.startswith(("/v1/", "/healthz", "/metrics", "/static"))
