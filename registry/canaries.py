"""Canaries: a candidate composition, the share of the users who see it, and who has seen what.

The state of the ladder is JSON here; what it means, and what follows from it, is told by
``evolution/canaries/rollout.py``. Whoever changes a canary says which version of it they have
read: of two at once one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import func, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from agenticrs.platform.errors import Conflict, NotFound
from agenticrs.registry import audit, intentions, outbox, surface_rows
from agenticrs.registry.tables import AuditRow, CanaryRow, ExposureRow, FeedbackRow, utc_now

State = Literal["running", "paused", "promoted", "rolled back"]
_BATCH = 500


@dataclass(frozen=True)
class Exposure:
    """A user's requests so far: who was to answer the first one, and when (Unix seconds).

    ``milliseconds`` are those of all ``answers`` together.
    """

    user_id: str
    candidate: bool
    at: int
    answers: int = 1
    milliseconds: float = 0.0

    def joined(self, later: Exposure) -> Exposure:
        """With what came later."""
        return replace(
            self,
            answers=self.answers + later.answers,
            milliseconds=self.milliseconds + later.milliseconds,
        )


@dataclass(frozen=True)
class Due:
    """A user whose rewards have come due, with the behaviours of what they did until then.

    ``before`` are those of what they did in as long a time before their first request.
    """

    id: int
    user_id: str
    candidate: bool
    events: Sequence[Mapping[str, float]]
    answers: int = 1
    milliseconds: float = 0.0
    """Of an answer, on average."""
    before: Sequence[Mapping[str, float]] = ()


def begin(session: Session, row: CanaryRow) -> CanaryRow:
    """Write it down, audited; one with its key is returned as it is.

    Raises Stale where what it would be compared with (``before``) does not serve, Conflict while
    another one is under way on the surface.
    """
    known = session.exec(select(CanaryRow).where(CanaryRow.key == row.key)).first()
    if known is not None:
        return known
    what = f"a canary of composition {row.after}"
    intentions.refuse_stale(session, row.surface, row.before, what)
    row.feedback_from = session.exec(select(func.max(FeedbackRow.id))).one() or 0
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(
            f"a canary is under way on {row.surface!r} already",
            hint="wait for it, or answer it: `agenticrs canary show`",
        ) from error
    _audit(session, row, row.who, "canary begins", row.reason, row.share, before=0.0)
    return row


def under_way(session: Session, surface: str) -> CanaryRow | None:
    """The surface's canary that is not over, or None."""
    return session.exec(
        select(CanaryRow).where(CanaryRow.surface == surface, col(CanaryRow.under_way))
    ).first()


def latest(session: Session, surface: str) -> CanaryRow:
    """The last one that began; raises NotFound."""
    row = next(iter(all_of(session, surface, limit=1)), None)
    if row is None:
        raise NotFound(
            f"there was no canary on {surface!r}",
            hint="with AGENTICRS_CANARY a composition that is promoted begins one",
        )
    return row


def get(session: Session, surface: str, number: int) -> CanaryRow:
    """One of the surface's; raises NotFound."""
    row = session.get(CanaryRow, number)
    if row is None or row.surface != surface:
        raise NotFound(f"there was no canary {number}", hint="/canary lists them")
    return row


def all_of(session: Session, surface: str, limit: int = 20, offset: int = 0) -> list[CanaryRow]:
    """The surface's canaries, newest first."""
    return surface_rows.newest(session, CanaryRow, surface, limit, offset)


def count(session: Session, surface: str) -> int:
    """How many there have been."""
    return surface_rows.count(session, CanaryRow, surface)


def change(
    session: Session,
    row: CanaryRow,
    *,
    state: State,
    ladder: Mapping[str, Any],
    share: float,
    who: str,
    decision: str,
    reason: str,
) -> CanaryRow:
    """Write the next state, audited, if nobody else has written since ``row`` was read.

    Raises Conflict otherwise. Returns the row as it is now.
    """
    values = {"state": state, "ladder": dict(ladder), "share": share, "stepped_at": utc_now()}
    _write(session, row, values)
    _audit(session, row, who, f"canary: {decision}", reason, share)
    if state == "rolled back" and decision == "roll back":
        outbox.post(
            session,
            key=f"canary:{row.id}:rolled back",
            surface=row.surface,
            event="rollback",
            subject=f"Canary {row.id} on {row.surface} was rolled back",
            text=f"{who}: {reason}",
            data={"canary": row.id, "before": row.after, "after": row.before, "path": "/canary"},
        )
    return _fresh(session, row)


def finish(session: Session, row: CanaryRow) -> CanaryRow:
    """Everything that follows from its state is carried out. Raises Conflict like ``change``."""
    _write(session, row, {"under_way": False, "finished_at": utc_now()})
    return _fresh(session, row)


def expose(session: Session, row: CanaryRow, exposures: Iterable[Exposure]) -> None:
    """Keep each user's first request, and count the answers they got in their time.

    Who was to answer, and when, is never changed by later requests, here or in another process;
    what comes when the time is over counts nowhere.
    """
    rows = [
        {
            "canary_id": row.id,
            "user_id": one.user_id,
            "candidate": one.candidate,
            "at": one.at,
            "answers": one.answers,
            "milliseconds": one.milliseconds,
        }
        for one in exposures
    ]
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    for start in range(0, len(rows), _BATCH):
        new = insert(ExposureRow).values(rows[start : start + _BATCH])
        known, given = ExposureRow, new.excluded
        session.connection().execute(
            new.on_conflict_do_update(
                index_elements=["canary_id", "user_id"],
                set_={
                    "answers": col(known.answers) + given.answers,
                    "milliseconds": col(known.milliseconds) + given.milliseconds,
                },
                where=col(known.counted).is_(None) & (col(known.at) + row.horizon >= given.at),
            )
        )


def due(session: Session, row: CanaryRow, now: float) -> list[Due]:
    """Users whose time has passed and who have not counted yet, with their events in that time."""
    came_due = (
        ExposureRow.canary_id == row.id,
        col(ExposureRow.counted).is_(None),
        col(ExposureRow.at) <= now - row.horizon,
    )
    exposed = session.exec(select(ExposureRow).where(*came_due)).all()
    begun, moment = col(ExposureRow.at), col(FeedbackRow.timestamp)
    after = (
        col(FeedbackRow.id) > row.feedback_from,
        moment >= begun,
        moment <= begun + row.horizon,
    )
    before = (moment >= begun - row.horizon, moment < begun)

    def events(*when: Any) -> dict[int, list[Mapping[str, float]]]:
        found: dict[int, list[Mapping[str, float]]] = {}
        for exposure, behaviours in session.exec(
            select(ExposureRow.id, FeedbackRow.behaviours)
            .join(FeedbackRow, col(FeedbackRow.user_id) == ExposureRow.user_id)
            .where(*came_due, FeedbackRow.dataset == row.dataset, *when)
        ):
            found.setdefault(exposure or 0, []).append(behaviours)
        return found

    brought, past = events(*after), events(*before)
    return [
        Due(
            id=one.id or 0,
            user_id=one.user_id,
            candidate=one.candidate,
            events=brought.get(one.id or 0, ()),
            answers=one.answers,
            milliseconds=one.milliseconds / max(1, one.answers),
            before=past.get(one.id or 0, ()),
        )
        for one in exposed
    ]


def let_count(session: Session, row: CanaryRow, users: Sequence[Due]) -> None:
    """Let them count in this version of the canary, and in no other."""
    for start in range(0, len(users), _BATCH):
        some = users[start : start + _BATCH]
        session.connection().execute(
            update(ExposureRow)
            .where(col(ExposureRow.id).in_([one.id for one in some]))
            .values(counted=row.version)
        )


def users_seen(session: Session, row: CanaryRow) -> tuple[int, int]:
    """How many users have met the candidate, and the champion."""
    found = dict(
        session.exec(
            select(ExposureRow.candidate, func.count())
            .where(ExposureRow.canary_id == row.id)
            .group_by(col(ExposureRow.candidate))
        ).all()
    )
    return found.get(True, 0), found.get(False, 0)


def decisions(session: Session, row: CanaryRow) -> list[AuditRow]:
    """What was decided about it, newest first."""
    return list(
        session.exec(
            select(AuditRow)
            .where(AuditRow.subject == _subject(row))
            .order_by(col(AuditRow.id).desc())
        )
    )


def rejection(session: Session, surface: str, number: int) -> str | None:
    """Why the last canary of that composition rejected it; None when it did not.

    One that ended because something else serves has not rejected it.
    """
    row = session.exec(
        select(CanaryRow)
        .where(CanaryRow.surface == surface, CanaryRow.after == number)
        .order_by(col(CanaryRow.id).desc())
    ).first()
    rolled_back = row is not None and row.state == "rolled back"
    if row is None or not rolled_back or row.ladder["decision"] != "roll back":
        return None
    return str(row.ladder["reason"])


def _write(session: Session, row: CanaryRow, values: Mapping[str, Any]) -> None:
    done = session.connection().execute(
        update(CanaryRow)
        .where(
            col(CanaryRow.id) == row.id,
            col(CanaryRow.version) == row.version,
            col(CanaryRow.under_way),
        )
        .values(**values, version=row.version + 1)
    )
    if not done.rowcount:
        raise Conflict(f"somebody else changed canary {row.id} meanwhile", hint="look again")


def _fresh(session: Session, row: CanaryRow) -> CanaryRow:
    return session.exec(
        select(CanaryRow).where(CanaryRow.id == row.id).execution_options(populate_existing=True)
    ).one()


def _audit(
    session: Session,
    row: CanaryRow,
    who: str,
    action: str,
    reason: str,
    share: float,
    before: float | None = None,
) -> None:
    audit.record(
        session,
        who=who,
        action=action,
        subject=_subject(row),
        reason=reason,
        before={"composition": row.before, "share": row.share if before is None else before},
        after={"composition": row.after, "share": share},
    )


def _subject(row: CanaryRow) -> str:
    return f"{row.surface} canary {row.id}"
