"""Accounts of people: names and argon2 hashes of their passwords."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlmodel import Session, select

from agenticrs.platform.errors import Conflict, NotAllowed
from agenticrs.registry import audit
from agenticrs.registry.tables import AccountRow

SHORTEST_PASSWORD = 8
_hasher = PasswordHasher()


def create(session: Session, name: str, password: str) -> AccountRow:
    """A new account. Raises Conflict for a taken name, NotAllowed for a short password."""
    if len(password) < SHORTEST_PASSWORD:
        raise NotAllowed(
            f"the password is shorter than {SHORTEST_PASSWORD} characters",
            hint="choose a longer one",
        )
    if session.get(AccountRow, name) is not None:
        raise Conflict(f"there is already an account {name!r}")
    row = AccountRow(name=name, password=_hasher.hash(password))
    session.add(row)
    audit.record(session, who="setup", action="create account", subject=name)
    session.flush()
    return row


def verify(session: Session, name: str, password: str) -> bool:
    """Whether the password is right; unknown names cost the same work as known ones."""
    row = session.get(AccountRow, name)
    try:
        _hasher.verify(row.password if row else _nobody(), password)
    except (Argon2Error, InvalidHashError):
        return False
    return row is not None


def any_exists(session: Session) -> bool:
    """Whether somebody can log in at all."""
    return session.exec(select(AccountRow).limit(1)).first() is not None


@cache
def _nobody() -> str:
    return _hasher.hash("nobody has this password")
