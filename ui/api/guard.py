"""Stands around the whole app: foreign hosts and foreign sites are refused, answers get headers.

* A ``Host`` that is neither an IP address, ``localhost``, the configured host nor this machine's
  name is refused: a page elsewhere cannot reach a local server by rebinding its own name.
* A change that a browser sends from another site's page is refused, whatever it carries.
* A body that is too large is refused before it is read, or while it is.
* Every answer forbids scripts, frames and hosts that are not ours.
* What goes wrong unexpectedly is logged and answered with 500, never with a traceback.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agenticrs.platform.logs import get_logger
from agenticrs.ui.api.errors import Problem, answer

CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
LARGEST_BODY = 2_000_000
"""Bytes of a request; a full batch of feedback stays below it."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_log = get_logger(__name__)


class Guard:
    """ASGI middleware; ``host`` is where the app listens."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._names = {"localhost", host.lower(), socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope)
        refused = self._refused(request.headers, scope["method"])
        if refused is not None:
            await answer(request, refused)(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, _limited(receive), send_guarded)
        except Exception as error:  # the edge: nothing may leak, and nothing may be lost
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if started:
                raise
            problem = Problem(500, "something went wrong here", "the server's log says what")
            problem.cause = type(error).__name__
            await answer(request, problem)(scope, receive, send_guarded)

    def _refused(self, headers: Headers, method: str) -> Problem | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return Problem(400, "unknown host", "use the address that `agenticrs up` printed")
        if method not in _SAFE and _from_elsewhere(headers, host):
            return Problem(403, "the request comes from another site's page", "use the console")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            return Problem(413, f"the body is larger than {LARGEST_BODY:,} bytes", "send less")
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _limited(receive: Receive) -> Receive:
    """The same messages, until the body is longer than any may be (it need not say how long)."""
    read = 0

    async def receive_limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > LARGEST_BODY:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY:,} bytes")
        return message

    return receive_limited


def _from_elsewhere(headers: Headers, host: str) -> bool:
    """Whether a browser says that another origin made the request."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    # Over plain HTTP a browser may only send an Origin; "null" is what our own forms send then
    # (no-referrer hides it). They carry a token, and JSON cannot be sent across without consent.
    origin = headers.get("origin", "null")
    return origin != "null" and urlsplit(origin).netloc != host
