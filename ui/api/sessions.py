"""Sessions of people: signed cookies, renewed at login, ended at logout.

A cookie holds a name and a random id, signed with a key that lies in ``<home>/run/session.key``.
The token against cross-site requests is derived from the id, so it is worthless in another
session. Ended sessions are remembered until their cookies would have expired anyway.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer

COOKIE = "agenticrs_session"
LOGIN_COOKIE = "agenticrs_login"
"""Holds the id of somebody who has not logged in yet: the login form too has a token."""
LIFETIME = 12 * 3600
"""Seconds until somebody must log in again."""


@dataclass(frozen=True)
class LoggedIn:
    """A session: whose (empty before login), which, and the token that its forms carry."""

    name: str
    id: str
    csrf: str


class Sessions:
    """Issues and reads cookies. ``clock`` gives Unix seconds, for the memory of ended sessions."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._signer = URLSafeTimedSerializer(key, salt="agenticrs.session")
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: dict[str, float] = {}

    def begin(self, name: str = "") -> tuple[LoggedIn, str]:
        """A new session and its cookie."""
        session = self._session(name, secrets.token_urlsafe(24))
        return session, self._signer.dumps([session.name, session.id])

    def read(self, cookie: str | None) -> LoggedIn | None:
        """The session of a cookie; None for one that is forged, too old or ended."""
        if not cookie:
            return None
        try:
            name, session_id = self._signer.loads(cookie, max_age=LIFETIME)
        except (BadSignature, ValueError, TypeError):
            return None
        if not isinstance(name, str) or not isinstance(session_id, str):
            return None
        return None if session_id in self._ended else self._session(name, session_id)

    def end(self, session: LoggedIn) -> None:
        """Let the session's cookie count no more."""
        now = self._clock()
        with self._lock:
            self._ended = {i: until for i, until in self._ended.items() if until > now}
            self._ended[session.id] = now + LIFETIME

    def _session(self, name: str, session_id: str) -> LoggedIn:
        digest = hmac.new(self._key, f"csrf:{session_id}".encode(), hashlib.sha256)
        return LoggedIn(name, session_id, digest.hexdigest())


def same_token(session: LoggedIn, token: str) -> bool:
    """Whether the token belongs to the session (compared in constant time)."""
    return hmac.compare_digest(session.csrf.encode(), token.encode())


def session_key(home: Path) -> bytes:
    """The key that signs cookies: made once for a home, readable by its owner alone."""
    path = home / "run" / "session.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) >= 32:
            return key
        path.unlink()  # its writer was killed in between
        return session_key(home)
    key = secrets.token_bytes(48)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
    return key
