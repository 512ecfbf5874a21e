"""Proposals to weigh the business objectives anew. Only a person lets one take effect.

Without an approved one the weights of the settings hold. Every proposal stays as a row, those that
an experiment refused too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import update
from sqlmodel import Session, col, select

from agenticrs.platform.errors import Conflict, NotAllowed, NotFound
from agenticrs.registry import audit, outbox, surface_rows
from agenticrs.registry.tables import ObjectiveRow, utc_now

Verdict = Literal["approve", "reject"]


def file(session: Session, row: ObjectiveRow) -> ObjectiveRow:
    """Keep a proposal, audited; an older one that still waits becomes superseded.

    People outside hear of one that waits.
    """
    if row.state == "waiting":
        _move(session, row.surface, "waiting", "superseded")
    session.add(row)
    session.flush()
    audit.record(
        session,
        who=row.proposed_by,
        action="objectives: propose" if row.state == "waiting" else "objectives: refuse",
        subject=_subject(row),
        reason=row.reason,
        before=dict(row.before),
        after=dict(row.after),
    )
    if row.state == "waiting":
        outbox.post(
            session,
            key=f"objectives:{row.id}",
            surface=row.surface,
            event="proposal.waiting",
            subject=f"Other weights of the objectives wait on {row.surface}",
            text=row.reason,
            data={"objectives": row.id, "path": f"/objectives/{row.id}"},
        )
    return row


def get(session: Session, surface: str, number: int) -> ObjectiveRow:
    """One of the surface's proposals; raises NotFound."""
    row = session.get(ObjectiveRow, number)
    if row is None or row.surface != surface:
        raise NotFound(
            f"there is no proposal {number} of objectives on {surface!r}",
            hint="/objectives lists them",
        )
    return row


def list_all(
    session: Session, surface: str, limit: int = 20, offset: int = 0
) -> list[ObjectiveRow]:
    """The surface's proposals, newest first."""
    return surface_rows.newest(session, ObjectiveRow, surface, limit, offset)


def count(session: Session, surface: str) -> int:
    """How many there are."""
    return surface_rows.count(session, ObjectiveRow, surface)


def approved(session: Session, surface: str) -> ObjectiveRow | None:
    """The one whose weights hold, or None: those of the settings do."""
    return session.exec(
        select(ObjectiveRow).where(
            ObjectiveRow.surface == surface, ObjectiveRow.state == "approved"
        )
    ).first()


def waiting(session: Session, surface: str) -> ObjectiveRow | None:
    """The one that waits for a person, or None."""
    return session.exec(
        select(ObjectiveRow).where(ObjectiveRow.surface == surface, ObjectiveRow.state == "waiting")
    ).first()


def decide(
    session: Session, surface: str, number: int, *, verdict: Verdict, who: str, reason: str
) -> ObjectiveRow:
    """A person's decision about one that waits, audited.

    Raises NotFound, NotAllowed without a reason or for one that does not wait (what no experiment
    has verified cannot be approved), Conflict when somebody else decided meanwhile.
    """
    row = get(session, surface, number)
    reason = reason.strip()
    if not reason:
        raise NotAllowed("a decision needs a reason", hint="say why in a sentence")
    if row.state != "waiting":
        raise NotAllowed(
            f"proposal {number} is {row.state}: {row.reason}",
            hint="only one that an experiment verified, and that waits, is decided",
        )
    if verdict == "approve":
        _move(session, surface, "approved", "superseded")
    state = "approved" if verdict == "approve" else "rejected"
    done = session.connection().execute(
        update(ObjectiveRow)
        .where(col(ObjectiveRow.id) == number, col(ObjectiveRow.state) == "waiting")
        .values(state=state, who=who, reason=reason, decided_at=utc_now())
    )
    if not done.rowcount:
        raise Conflict(f"somebody else decided about proposal {number} meanwhile")
    _told(session, row, who, f"objectives: {verdict}", reason, row.before, row.after)
    session.refresh(row)
    return row


def reset(session: Session, surface: str, *, who: str, reason: str) -> ObjectiveRow:
    """Let the weights of the settings hold again, audited. Raises NotFound when they do."""
    row = approved(session, surface)
    if row is None:
        raise NotFound(f"the weights of the settings hold on {surface!r}")
    if not reason.strip():
        raise NotAllowed("a decision needs a reason", hint="say why in a sentence")
    _move(session, surface, "approved", "superseded")
    _told(session, row, who, "objectives: reset", reason.strip(), row.after, row.before)
    session.refresh(row)
    return row


def _move(session: Session, surface: str, state: str, to: str) -> None:
    session.connection().execute(
        update(ObjectiveRow)
        .where(col(ObjectiveRow.surface) == surface, col(ObjectiveRow.state) == state)
        .values(state=to)
    )


def _told(
    session: Session,
    row: ObjectiveRow,
    who: str,
    action: str,
    reason: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    audit.record(
        session,
        who=who,
        action=action,
        subject=_subject(row),
        reason=reason,
        before=dict(before),
        after=dict(after),
    )


def _subject(row: ObjectiveRow) -> str:
    return f"{row.surface} objectives {row.id}"
