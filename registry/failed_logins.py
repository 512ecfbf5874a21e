"""Failed logins of the last minutes: rows, so that every process counts the same ones.

A name may be a password in the wrong field: callers hand over a keyed digest of what was typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, or_
from sqlmodel import Session, col, select

from agenticrs.registry.tables import FailedLoginRow

WINDOW = timedelta(minutes=5)
"""For how long a failure counts, and is kept."""
_MOST = 1000


def record(session: Session, name: str, address: str, now: datetime) -> None:
    """One more failure; what counts no more is forgotten."""
    session.connection().execute(
        delete(FailedLoginRow).where(col(FailedLoginRow.at) <= now - WINDOW)
    )
    session.add(FailedLoginRow(name=name, address=address, at=now))


def recent(session: Session, name: str, address: str, now: datetime) -> Sequence[FailedLoginRow]:
    """What counts of this name (if it is one) or of this address, newest first."""
    told = [col(FailedLoginRow.address) == address]
    if name:
        told.append(col(FailedLoginRow.name) == name)
    found = select(FailedLoginRow).where(or_(*told), col(FailedLoginRow.at) > now - WINDOW)
    newest = found.order_by(col(FailedLoginRow.at).desc(), col(FailedLoginRow.id).desc())
    return session.exec(newest.limit(_MOST)).all()


def forget(session: Session, name: str, address: str) -> None:
    """Let the failures of this name from this address count no more."""
    session.connection().execute(
        delete(FailedLoginRow).where(
            col(FailedLoginRow.name) == name, col(FailedLoginRow.address) == address
        )
    )
