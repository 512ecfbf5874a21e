"""Sessions of people who are logged in: one row each, so that every replica knows which ended.

Kept is a digest of the session's id, not the id: who reads the database cannot log in with it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlmodel import Session, col

from agenticrs.registry.tables import AccountRow, LoginRow

LONGEST = timedelta(hours=12)
"""After which somebody must log in again, whatever they do."""
IDLE = timedelta(hours=1)
"""Without a request, after which somebody must log in again."""
_SEEN_EVERY = timedelta(minutes=1)
"""How exactly the last request is known: not every one is written down."""


def begin(session: Session, id: str, name: str, now: datetime) -> None:
    """Somebody has logged in; what has run out is forgotten."""
    gone = (col(LoginRow.begun_at) < now - LONGEST) | (col(LoginRow.seen_at) < now - IDLE)
    session.connection().execute(delete(LoginRow).where(gone))
    session.add(LoginRow(digest=_digest(id), account=name, begun_at=now, seen_at=now))


def find(session: Session, id: str, now: datetime, *, counts: bool = True) -> AccountRow | None:
    """Whose session it is; None when it ended, ran out, or the account is closed."""
    row = session.get(LoginRow, _digest(id))
    if row is None or now - row.begun_at > LONGEST or now - row.seen_at > IDLE:
        return None
    if counts and now - row.seen_at > _SEEN_EVERY:
        # Not by the object: what another request has ended must stay ended.
        session.connection().execute(
            update(LoginRow).where(col(LoginRow.digest) == row.digest).values(seen_at=now)
        )
    account = session.get(AccountRow, row.account)
    return account if account is not None and account.active else None


def end(session: Session, id: str) -> None:
    """Let one session count no more."""
    session.connection().execute(delete(LoginRow).where(col(LoginRow.digest) == _digest(id)))


def end_all(session: Session, name: str) -> None:
    """Let no session of that person count any more."""
    session.connection().execute(delete(LoginRow).where(col(LoginRow.account) == name))


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()
