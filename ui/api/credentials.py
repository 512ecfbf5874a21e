"""What somebody shows to prove who they are: a cookie, a token, or name and password.

Wrong passwords and tokens are counted, so that guessing slows down (``attempts.py``).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from fastapi import Request
from sqlmodel import Session

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgenticRSError
from agenticrs.registry import accounts, audit, tokens
from agenticrs.registry.roles import Role, includes, scope_of
from agenticrs.registry.tables import utc_now
from agenticrs.ui.api.attempts import LoginAttempts
from agenticrs.ui.api.dependencies import get_dependencies
from agenticrs.ui.api.sessions import COOKIE, LoggedIn, Sessions


class LoginNeeded(AgenticRSError):
    """Nobody is logged in, or what was shown does not fit."""


class TooManyAttempts(AgenticRSError):
    """Too many failed logins; ``seconds`` until the next one is looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__("too many failed logins", hint=f"try again in {seconds} seconds")
        self.seconds = seconds


@dataclass(frozen=True)
class Person:
    """Somebody who has an account; ``session`` is None for scripts, ``scopes`` for no token."""

    name: str
    role: str
    session: LoggedIn | None = None
    scopes: frozenset[str] | None = None

    def may(self, needed: Role) -> bool:
        """Whether the role, and the token if it is one, are enough."""
        if self.scopes is not None and needed != "viewer" and scope_of(needed) not in self.scopes:
            return False  # whatever a token is for, it may read
        return includes(self.role, needed)


def somebody(request: Request) -> Person | None:
    """Who asks, or None. Raises LoginNeeded for wrong credentials, TooManyAttempts."""
    sessions: Sessions = request.app.state.sessions
    session = sessions.read(request.cookies.get(COOKIE))
    if session is not None and session.name:
        return Person(session.name, session.role, session)
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _by_token(request, shown.strip())
    basic = _basic(scheme, shown)
    return None if basic is None else check_password(request, *basic)


def check_password(request: Request, name: str, password: str) -> Person:
    """Who it is. Raises LoginNeeded unless they fit, TooManyAttempts after too many failures."""
    address = _refuse_after_failures(request, name)
    deps = get_dependencies(request)
    with session_scope(deps.engine) as session:
        right = accounts.verify(session, name, password)
        account = accounts.find(session, name) if right else None
        if account is None:
            _audit_failure(session, name, address)
    if account is None:
        _count_failure(request, name, address)
        raise LoginNeeded("name or password is wrong", hint="try again")
    attempts: LoginAttempts = request.app.state.attempts
    attempts.succeeded(name, address)
    return Person(account.name, account.role)


def _by_token(request: Request, text: str) -> Person:
    address = _refuse_after_failures(request, "")
    with session_scope(get_dependencies(request).engine) as session:
        found = tokens.find(session, text, utc_now())
    if found is None:
        _count_failure(request, "", address)
        raise LoginNeeded("the token is unknown, expired or revoked", hint="ask for a new one")
    token, account = found
    return Person(account.name, account.role, scopes=frozenset(token.scopes))


def _refuse_after_failures(request: Request, name: str) -> str:
    attempts: LoginAttempts = request.app.state.attempts
    address = request.client.host if request.client else ""
    wait = attempts.wait(name, address)
    if wait:
        raise TooManyAttempts(wait)
    return address


def _count_failure(request: Request, name: str, address: str) -> None:
    attempts: LoginAttempts = request.app.state.attempts
    attempts.failed(name, address)
    request.app.state.metrics.login_failures.inc()


def _audit_failure(session: Session, name: str, address: str) -> None:
    # A name that nobody has may be a password in the wrong field: it is not kept.
    known = accounts.find(session, name) is not None
    audit.record(
        session,
        who=f"address {address}",
        action="login failed",
        subject=name if known else "an unknown name",
    )


def _basic(scheme: str, encoded: str) -> tuple[str, str] | None:
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None
