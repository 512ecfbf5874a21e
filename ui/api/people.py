"""Who asks: a session cookie, or name and password with each request (HTTP Basic, for scripts).

A change made with a cookie must carry the session's token; Basic needs none, because the guard
refuses what another site's page sends.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlmodel import Session

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgenticRSError, NotAllowed
from agenticrs.registry import accounts, audit
from agenticrs.registry.tables import AccountRow
from agenticrs.ui.api.attempts import LoginAttempts
from agenticrs.ui.api.dependencies import get_dependencies
from agenticrs.ui.api.sessions import COOKIE, LoggedIn, Sessions, same_token

CSRF_HEADER = "x-csrf-token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class LoginNeeded(AgenticRSError):
    """Nobody is logged in, or name and password do not fit."""


class TooManyAttempts(AgenticRSError):
    """Too many failed logins; ``seconds`` until the next one is looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__("too many failed logins", hint=f"try again in {seconds} seconds")
        self.seconds = seconds


@dataclass(frozen=True)
class Person:
    """Somebody who has an account; ``session`` is None with HTTP Basic."""

    name: str
    session: LoggedIn | None


def somebody(request: Request) -> Person | None:
    """Who asks, or None. Raises LoginNeeded for wrong Basic credentials, TooManyAttempts."""
    sessions: Sessions = request.app.state.sessions
    session = sessions.read(request.cookies.get(COOKIE))
    if session is not None and session.name and _has_account(request, session.name):
        return Person(session.name, session)
    basic = _basic(request.headers.get("authorization", ""))
    if basic is None:
        return None
    check_password(request, *basic)
    return Person(basic[0], None)


def person(request: Request) -> Person:
    """Who asks; raises LoginNeeded."""
    found = somebody(request)
    if found is None:
        raise LoginNeeded("log in first", hint="use a session cookie or HTTP Basic")
    return found


def person_by_token(request: Request, found: Annotated[Person, Depends(person)]) -> Person:
    """Who asks; with a cookie, a change needs the session's token in a header."""
    if request.method not in _SAFE and found.session is not None:
        check_token(found.session, request.headers.get(CSRF_HEADER, ""))
    return found


SomeoneOrNot = Annotated[Person | None, Depends(somebody)]
Someone = Annotated[Person, Depends(person)]
SomeoneByToken = Annotated[Person, Depends(person_by_token)]


def check_token(session: LoggedIn | None, token: str) -> None:
    """Raise NotAllowed unless the token belongs to the session."""
    if session is None or not same_token(session, token):
        raise NotAllowed(
            "the form's token is missing or belongs to another session",
            hint="open the page again and send the form from there",
        )


def check_password(request: Request, name: str, password: str) -> None:
    """Raise LoginNeeded unless they fit, TooManyAttempts after too many failures."""
    attempts: LoginAttempts = request.app.state.attempts
    address = request.client.host if request.client else ""
    wait = attempts.wait(name, address)
    if wait:
        raise TooManyAttempts(wait)
    deps = get_dependencies(request)
    with session_scope(deps.engine) as session:
        right = accounts.verify(session, name, password)
        if not right:
            _audit_failure(session, name, address)
    if right:
        attempts.succeeded(name, address)
        return
    attempts.failed(name, address)
    request.app.state.metrics.login_failures.inc()
    raise LoginNeeded("name or password is wrong", hint="try again")


def _audit_failure(session: Session, name: str, address: str) -> None:
    # A name that nobody has may be a password in the wrong field: it is not kept.
    known = session.get(AccountRow, name) is not None
    audit.record(
        session,
        who=f"address {address}",
        action="login failed",
        subject=name if known else "an unknown name",
    )


def _has_account(request: Request, name: str) -> bool:
    with session_scope(get_dependencies(request).engine) as session:
        return session.get(AccountRow, name) is not None


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None
