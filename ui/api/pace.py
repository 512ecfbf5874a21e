"""No caller may ask faster than the settings say: a bucket for each, refilled steadily.

A caller is whoever shows the same cookie or credentials, else an address. What the surface and
machines call (recommendations, feedback, health) is not counted: it has gates of its own.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from agenticrs.ui.api.errors import Problem, answer
from agenticrs.ui.api.sessions import COOKIE

FREE = ("/v1/recommend", "/v1/feedback", "/healthz", "/metrics", "/static/")
_MOST_CALLERS = 10_000


class Pace:
    """How many requests each caller has left. ``clock`` gives monotonic seconds."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, caller: str) -> int:
        """Take one of the caller's requests; 0, or the seconds until there is one again."""
        now = self._clock()
        with self._lock:
            if caller not in self._left and len(self._left) >= _MOST_CALLERS:
                self._forget(now)
            left, since = self._left.get(caller, (self._most, now))
            left = min(self._most, left + (now - since) * self._most / 60)
            self._left[caller] = (left - 1 if left >= 1 else left, now)
        return 0 if left >= 1 else int((1 - left) * 60 / self._most) + 1

    def _forget(self, now: float) -> None:
        """Those whose bucket is full again; if that is nobody, those who came first."""
        full = [who for who, (_, since) in self._left.items() if now - since >= 60]
        for who in full or list(self._left)[: _MOST_CALLERS // 2]:
            del self._left[who]


class KeepPace:
    """ASGI middleware; ``per_minute`` 0 counts nothing."""

    def __init__(self, app: ASGIApp, per_minute: int) -> None:
        self._app = app
        self._pace = Pace(per_minute) if per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429."""
        if self._pace is None or scope["type"] != "http" or scope["path"].startswith(FREE):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        wait = self._pace.wait(_caller(request))
        if not wait:
            await self._app(scope, receive, send)
            return
        problem = Problem(
            429,
            "too many requests",
            f"try again in {wait} seconds",
            headers={"Retry-After": str(wait)},
        )
        await answer(request, problem)(scope, receive, send)


def _caller(request: Request) -> str:
    shown = request.cookies.get(COOKIE) or request.headers.get("authorization")
    if shown:
        return hashlib.sha256(shown.encode()).hexdigest()
    return request.client.host if request.client else ""
