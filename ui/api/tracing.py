"""Spans of a request: the HTTP exchange, the batch that answered it, and each agent's part.

The batch and its agents work for several requests at once. So their spans are made afterwards, out
of the answer, in the trace of each request that is kept: a trace shows all that its request had to
wait for, and which version of which agent that was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agenticrs.platform.tracing import Tracer
from agenticrs.ui.loaded_model import Answer

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_SPAN = "agenticrs.span"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class TraceRequests:
    """ASGI middleware: a span for each request, named by the route's template."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and end its span when its answer has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"
        span = self._tracer.serving(method, Request(scope).headers)
        scope[_SPAN] = span
        status = 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            _end(span, method, getattr(scope.get("route"), "path", ""), status)


def trace_answer(tracer: Tracer | None, request: Request, answer: Answer) -> None:
    """Add what made the answer to its request's span, if that is kept."""
    span: Span | None = request.scope.get(_SPAN)
    if tracer is None or span is None or not span.is_recording():
        return
    batch = tracer.add(
        span,
        f"composition {answer.composition}",
        answer.batch.began,
        answer.batch.milliseconds,
        {
            "agenticrs.composition": answer.composition,
            "agenticrs.batch.requests": answer.batch.requests,
            "agenticrs.arm": answer.arm or "",
        },
    )
    for step in answer.trace:
        if step.status == "skipped":
            continue
        tracer.add(
            batch,
            f"agent {step.agent}",
            step.began,
            step.milliseconds,
            {
                "agenticrs.agent": step.agent,
                "agenticrs.agent.version": step.version,
                "agenticrs.node": step.node,
                "agenticrs.status": step.status,
            },
            error=None if step.status == "ok" else step.error,
        )


def _end(span: Span, method: str, route: str, status: int) -> None:
    if span.is_recording():
        span.update_name(f"{method} {route}".strip())
        span.set_attribute("http.request.method", method)
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_attribute("error.type", str(status))
    span.end()
