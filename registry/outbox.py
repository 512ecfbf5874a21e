"""Notices for people outside, and their deliveries: written before they are sent.

A notice is written in the transaction of what it tells, so neither is there without the other. It
is sent afterwards, by whoever claims its delivery; a sender that dies leaves a claim that runs out,
and the message goes out again with the same ``uid``. How messages travel is told elsewhere.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from agenticrs.registry import audit
from agenticrs.registry.tables import DeliveryRow, NoticeRow, utc_now

CLAIM_SECONDS = 60.0
"""How long a sender may take, until somebody else tries."""
MOST_ATTEMPTS = 12
"""With waits that double from half a minute to two hours: about eight hours."""
_FIRST_WAIT, _LONGEST_WAIT = 30.0, 7200.0
_TOO_OLD = timedelta(days=3)
"""Notices that nobody has addressed for so long are not sent any more: no channel was set up."""


def post(
    session: Session,
    *,
    key: str,
    surface: str,
    event: str,
    subject: str,
    text: str,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write a notice, once for a key; it goes out when the caller's transaction has committed."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.connection().execute(
        insert(NoticeRow)
        .values(
            uid=uuid.uuid4().hex,
            key=key,
            surface=surface,
            event=event,
            subject=subject,
            text=text,
            data=dict(data or {}),
            addressed=False,
            at=utc_now(),
        )
        .on_conflict_do_nothing(index_elements=["key"])
    )


def address(session: Session, surface: str, channels: Sequence[str]) -> int:
    """Give a surface's new notices their deliveries; return how many. Old ones get none."""
    fresh = session.exec(
        select(NoticeRow)
        .where(NoticeRow.surface == surface, ~col(NoticeRow.addressed))
        .order_by(col(NoticeRow.id))
        .limit(500)
    ).all()
    done = 0
    for notice in fresh:
        won = session.connection().execute(
            update(NoticeRow)
            .where(col(NoticeRow.id) == notice.id, ~col(NoticeRow.addressed))
            .values(addressed=True)
        )
        if not won.rowcount:
            continue
        done += 1
        if utc_now() - notice.at <= _TOO_OLD:
            session.add_all(
                DeliveryRow(notice_id=notice.id or 0, channel=channel, state="waiting")
                for channel in channels
            )
    session.flush()
    return done


def claim(session: Session, surface: str) -> tuple[DeliveryRow, NoticeRow] | None:
    """A delivery whose time has come, for the caller alone for a minute; None when there is none.

    Its attempt counts now, so that one that kills its sender is given up at last.
    """
    found = session.exec(
        select(DeliveryRow, NoticeRow)
        .join(NoticeRow, col(NoticeRow.id) == DeliveryRow.notice_id)
        .where(
            NoticeRow.surface == surface,
            DeliveryRow.state == "waiting",
            col(DeliveryRow.next_at) <= utc_now(),
        )
        .order_by(col(DeliveryRow.next_at), col(DeliveryRow.id))
    ).first()
    if found is None:
        return None
    row, notice = found
    won = session.connection().execute(
        update(DeliveryRow)
        .where(
            col(DeliveryRow.id) == row.id,
            col(DeliveryRow.state) == "waiting",
            col(DeliveryRow.attempts) == row.attempts,
        )
        .values(attempts=row.attempts + 1, next_at=utc_now() + timedelta(seconds=CLAIM_SECONDS))
    )
    if not won.rowcount:
        return None
    row = session.exec(
        select(DeliveryRow)
        .where(DeliveryRow.id == row.id)
        .execution_options(populate_existing=True)
    ).one()
    return row, notice


def sent(session: Session, row: DeliveryRow) -> None:
    """It has arrived."""
    row.state, row.error, row.sent_at = "sent", "", utc_now()
    session.add(row)


def failed(session: Session, row: DeliveryRow, notice: NoticeRow, error: str) -> None:
    """It has not: later again, or given up and audited after the last attempt."""
    row.error = error[:500]
    if row.attempts >= MOST_ATTEMPTS:
        row.state = "given up"
        audit.record(
            session,
            who="notices",
            action="notice given up",
            subject=f"{notice.event} by {row.channel}",
            reason=row.error,
            after={"notice": notice.uid, "attempts": row.attempts},
        )
    else:
        row.next_at = utc_now() + timedelta(seconds=wait_after(row.attempts))
    session.add(row)


def wait_after(attempts: int) -> float:
    """Seconds until the next attempt."""
    return float(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempts - 1)))


def latest(session: Session, surface: str, limit: int = 30) -> list[NoticeRow]:
    """The surface's notices, newest first."""
    return list(
        session.exec(
            select(NoticeRow)
            .where(NoticeRow.surface == surface)
            .order_by(col(NoticeRow.id).desc())
            .limit(limit)
        )
    )


def deliveries(session: Session, notices: Sequence[NoticeRow]) -> dict[int, list[DeliveryRow]]:
    """Of these notices, by id."""
    found: dict[int, list[DeliveryRow]] = {notice.id or 0: [] for notice in notices}
    rows = session.exec(
        select(DeliveryRow)
        .where(col(DeliveryRow.notice_id).in_(list(found)))
        .order_by(col(DeliveryRow.id))
    )
    for row in rows:
        found[row.notice_id].append(row)
    return found
