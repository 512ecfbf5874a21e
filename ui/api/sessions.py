"""Sessions of people: signed cookies, renewed at login, ended at logout.

A cookie holds a name and a random id, signed with a key that lies in ``<home>/run/session.key``.
The token against cross-site requests is derived from the id, so it is worthless in another
session. Which sessions count stands in the registry (``registry/logins.py``): so they end for every
replica, and with a change of role or password.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import Engine

from agenticrs.platform.database import session_scope
from agenticrs.registry import logins
from agenticrs.registry.tables import utc_now

COOKIE = "agenticrs_session"
LOGIN_COOKIE = "agenticrs_login"
"""Holds the id of somebody who has not logged in yet: the login form too has a token."""
LIFETIME = int(logins.LONGEST.total_seconds())
"""Seconds until somebody must log in again."""


@dataclass(frozen=True)
class LoggedIn:
    """A session: whose (empty before login), which, the token of its forms, and the role."""

    name: str
    id: str
    csrf: str
    role: str = ""


class Sessions:
    """Issues and reads cookies. ``clock`` gives the present moment."""

    def __init__(self, key: bytes, engine: Engine, clock: Callable[[], datetime] = utc_now) -> None:
        self._key = key
        self._engine = engine
        self._signer = URLSafeTimedSerializer(key, salt="agenticrs.session")
        self._clock = clock

    def begin(self, name: str = "") -> tuple[LoggedIn, str]:
        """A new session and its cookie; never one that a browser brought along."""
        session = self._session(name, secrets.token_urlsafe(24))
        if name:
            with session_scope(self._engine) as registry:
                logins.begin(registry, session.id, name, self._clock())
        return session, self._signer.dumps([session.name, session.id])

    def read(self, cookie: str | None, *, counts: bool = True) -> LoggedIn | None:
        """The session of a cookie; None for one that is forged, too old, idle or ended.

        ``counts``: whether this is somebody's doing, so that the session is idle no more.
        """
        if not cookie:
            return None
        try:
            name, session_id = self._signer.loads(cookie, max_age=LIFETIME)
        except (BadSignature, ValueError, TypeError):
            return None
        if not isinstance(name, str) or not isinstance(session_id, str):
            return None
        if not name:
            return self._session("", session_id)
        with session_scope(self._engine) as registry:
            account = logins.find(registry, session_id, self._clock(), counts=counts)
        if account is None or account.name != name:
            return None
        return self._session(name, session_id, account.role)

    def end(self, session: LoggedIn) -> None:
        """Let the session's cookie count no more."""
        with session_scope(self._engine) as registry:
            logins.end(registry, session.id)

    def _session(self, name: str, session_id: str, role: str = "") -> LoggedIn:
        digest = hmac.new(self._key, f"csrf:{session_id}".encode(), hashlib.sha256)
        return LoggedIn(name, session_id, digest.hexdigest(), role)


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
