"""The audit log: who changed what, when and why. The database itself refuses to change a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import or_
from sqlmodel import Session, col, select

from agenticrs.registry.tables import AuditRow


def record(
    session: Session,
    *,
    who: str,
    action: str,
    subject: str,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditRow:
    """Append one entry; it is there when the caller's transaction commits."""
    row = AuditRow(
        who=who,
        action=action,
        subject=subject,
        reason=reason,
        before=dict(before or {}),
        after=dict(after or {}),
    )
    session.add(row)
    return row


def entries(
    session: Session,
    limit: int = 100,
    before_id: int | None = None,
    action: str | None = None,
    *,
    who: str | None = None,
    about: str | None = None,
) -> list[AuditRow]:
    """The newest entries first; ``before_id`` pages on, ``action`` keeps one kind.

    ``who`` keeps what one did, ``about`` what says these words in its subject or reason.
    """
    query = select(AuditRow).order_by(col(AuditRow.id).desc()).limit(limit)
    if before_id is not None:
        query = query.where(col(AuditRow.id) < before_id)
    if action is not None:
        query = query.where(AuditRow.action == action)
    if who is not None:
        query = query.where(AuditRow.who == who)
    if about is not None:
        query = query.where(
            or_(
                col(AuditRow.subject).icontains(about, autoescape=True),
                col(AuditRow.reason).icontains(about, autoescape=True),
            )
        )
    return list(session.exec(query))


def actions(session: Session) -> list[str]:
    """The kinds of entries that there are."""
    return sorted(session.exec(select(AuditRow.action).distinct()))
