"""Leases: at most one holder at a time, taken over when the holder stops renewing.

Every change is one conditional statement, so that two processes cannot both succeed, on SQLite and
on PostgreSQL alike.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine, delete, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from agenticrs.platform.database import session_scope
from agenticrs.registry.tables import LeaseRow, utc_now


def acquire(engine: Engine, name: str, holder: str, seconds: float) -> bool:
    """Take the lease for ``seconds``; False while somebody else holds it."""
    now = utc_now()
    until = now + timedelta(seconds=seconds)
    with session_scope(engine) as session:
        taken = session.connection().execute(
            update(LeaseRow)
            .where(col(LeaseRow.name) == name)
            .where((col(LeaseRow.expires_at) < now) | (col(LeaseRow.holder) == holder))
            .values(holder=holder, expires_at=until)
        )
        if taken.rowcount:
            return True
    try:
        with session_scope(engine) as session:
            session.add(LeaseRow(name=name, holder=holder, expires_at=until))
    except IntegrityError:
        return False
    return True


def renew(engine: Engine, name: str, holder: str, seconds: float) -> bool:
    """Prolong an own lease; False when it was lost."""
    with session_scope(engine) as session:
        kept = session.connection().execute(
            update(LeaseRow)
            .where(col(LeaseRow.name) == name, col(LeaseRow.holder) == holder)
            .values(expires_at=utc_now() + timedelta(seconds=seconds))
        )
        return bool(kept.rowcount)


def release(engine: Engine, name: str, holder: str) -> None:
    """Give the lease back; nothing happens when somebody else holds it by now."""
    with session_scope(engine) as session:
        session.connection().execute(
            delete(LeaseRow).where(col(LeaseRow.name) == name, col(LeaseRow.holder) == holder)
        )


def holder_of(engine: Engine, name: str) -> str | None:
    """Who holds the lease (expired or not), or None."""
    with session_scope(engine) as session:
        row = session.get(LeaseRow, name)
        return row.holder if row else None
