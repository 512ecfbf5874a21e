"""Schedules and what they did: the rows that say when cycles begin by themselves.

What a schedule says is JSON here (``evolution/scheduling/spec.py`` knows it). Whoever changes a row
says which version of it they have read: of two at once one is refused, so that a time that is due
begins one run, however many processes look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, func, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from agenticrs.platform.errors import Conflict, NotAllowed, NotFound
from agenticrs.registry import audit, outbox
from agenticrs.registry.tables import ScheduleRow, ScheduleRunRow, utc_now

Cause = Literal["time", "data", "drift", "person", "taken over"]
RunState = Literal["running", "done", "failed", "refused", "missed", "cut off"]
LONGEST_REASON = 2000


def get(session: Session, surface: str, name: str) -> ScheduleRow:
    """The schedule of that name; raises NotFound."""
    row = find(session, surface, name)
    if row is None:
        raise NotFound(
            f"there is no schedule {name!r} on {surface!r}", hint="see `agenticrs schedules list`"
        )
    return row


def find(session: Session, surface: str, name: str) -> ScheduleRow | None:
    """The schedule of that name, or None."""
    return session.exec(
        select(ScheduleRow).where(ScheduleRow.surface == surface, ScheduleRow.name == name)
    ).first()


def list_all(session: Session, surface: str) -> list[ScheduleRow]:
    """The surface's schedules by name."""
    return list(
        session.exec(
            select(ScheduleRow)
            .where(ScheduleRow.surface == surface)
            .order_by(col(ScheduleRow.name))
        )
    )


def add(session: Session, row: ScheduleRow, *, who: str, reason: str = "") -> ScheduleRow:
    """Write a new schedule down, audited; raises Conflict when the name is taken."""
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(
            f"there is a schedule {row.name!r} on {row.surface!r} already",
            hint="edit it, or choose another name",
        ) from error
    _audit(session, row, who, "add schedule", reason, {}, row.spec)
    return row


def change(
    session: Session,
    row: ScheduleRow,
    *,
    who: str,
    action: str,
    reason: str = "",
    **values: Any,
) -> ScheduleRow:
    """A person's change, audited, if nobody else has written since ``row`` was read.

    ``values`` are columns. Raises Conflict otherwise.
    """
    before = {name: getattr(row, name) for name in values}
    _write(session, row, values)
    _audit(session, row, who, action, reason, before, values)
    return _fresh(session, row)


def remove(session: Session, row: ScheduleRow, *, who: str, reason: str = "") -> None:
    """Remove a schedule, audited; what it did stays. Raises Conflict like ``change``."""
    gone = session.connection().execute(
        delete(ScheduleRow).where(
            col(ScheduleRow.id) == row.id, col(ScheduleRow.version) == row.version
        )
    )
    if not gone.rowcount:
        raise _changed(row)
    _audit(session, row, who, "remove schedule", reason, row.spec, {})


def ask(session: Session, row: ScheduleRow, *, who: str, reason: str) -> ScheduleRow:
    """Let it run now, audited: the leader begins as soon as no cycle is at work.

    Raises NotAllowed without a reason.
    """
    reason = checked_reason(reason)
    return change(
        session,
        row,
        who=who,
        action="run schedule",
        reason=reason,
        asked_by=who,
        asked_why=reason,
    )


def move(session: Session, row: ScheduleRow, **values: Any) -> bool:
    """The leader's own change (times, what it saw); False when somebody else was faster."""
    try:
        _write(session, row, values)
    except Conflict:
        return False
    return True


def claim(
    session: Session,
    row: ScheduleRow,
    *,
    cause: Cause,
    holder: str,
    why: str = "",
    of: datetime | None = None,
    **values: Any,
) -> ScheduleRunRow | None:
    """Begin a run, and write the schedule's next times in the same transaction; once.

    ``of``: the due time that it is for; ``values`` are columns of the schedule.
    None when somebody else has changed the schedule since ``row`` was read.
    """
    if not move(session, row, **values):
        return None
    run = ScheduleRunRow(
        surface=row.surface,
        schedule=row.name,
        cause=cause,
        state="running",
        why=why,
        spec=row.spec,
        holder=holder,
        due_at=of,
    )
    session.add(run)
    session.flush()
    _audit_run(session, run, "schedule runs", why)
    return run


def note(
    session: Session,
    row: ScheduleRow,
    state: RunState,
    why: str,
    *,
    cause: Cause = "time",
    due_at: datetime | None = None,
) -> ScheduleRunRow:
    """Keep that something did not run, and why."""
    now = utc_now()
    run = ScheduleRunRow(
        surface=row.surface,
        schedule=row.name,
        cause=cause,
        state=state,
        why=why,
        spec=row.spec,
        due_at=due_at,
        started_at=now,
        finished_at=now,
    )
    session.add(run)
    session.flush()
    _audit_run(session, run, f"schedule: {state}", why)
    return run


def finish(
    session: Session,
    run: ScheduleRunRow,
    state: RunState,
    *,
    why: str = "",
    cycles: Sequence[int] = (),
    tell: bool = False,
) -> bool:
    """A run has ended; with ``tell`` people hear of it. False when it had been taken over."""
    done = session.connection().execute(
        update(ScheduleRunRow)
        .where(col(ScheduleRunRow.id) == run.id, col(ScheduleRunRow.state) == "running")
        .values(
            state=state,
            why=why or run.why,
            cycles={"ids": list(cycles)},
            finished_at=utc_now(),
        )
    )
    if not done.rowcount:
        return False
    _audit_run(session, run, f"schedule: {state}", why)
    if tell:
        outbox.post(
            session,
            key=f"run:{run.id}",
            surface=run.surface,
            event="schedule.failed",
            subject=f"Schedule {run.schedule} on {run.surface} could not run",
            text=why,
            data={"schedule": run.schedule, "run": run.id, "state": state},
        )
    return True


def running(session: Session, surface: str) -> list[ScheduleRunRow]:
    """Runs that have begun and not ended, oldest first."""
    return list(
        session.exec(
            select(ScheduleRunRow)
            .where(ScheduleRunRow.surface == surface, ScheduleRunRow.state == "running")
            .order_by(col(ScheduleRunRow.id))
        )
    )


def runs(
    session: Session,
    surface: str,
    schedule: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[ScheduleRunRow]:
    """What schedules (one of them) did, newest first."""
    query = select(ScheduleRunRow).where(*_of(surface, schedule))
    newest = query.order_by(col(ScheduleRunRow.id).desc())
    return list(session.exec(newest.limit(limit).offset(offset)))


def count_runs(session: Session, surface: str, schedule: str | None = None) -> int:
    """How many there are of them."""
    query = select(func.count()).select_from(ScheduleRunRow)
    return session.exec(query.where(*_of(surface, schedule))).one()


def checked_reason(reason: str) -> str:
    """A reason without blanks around it; raises NotAllowed when there is none, or far too much."""
    reason = reason.strip()
    if not reason:
        raise NotAllowed("this needs a reason", hint="say why in a sentence")
    if len(reason) > LONGEST_REASON:
        raise NotAllowed(f"the reason is longer than {LONGEST_REASON} characters")
    return reason


def _of(surface: str, schedule: str | None) -> list[ColumnElement[bool]]:
    found = [col(ScheduleRunRow.surface) == surface]
    return found if schedule is None else [*found, col(ScheduleRunRow.schedule) == schedule]


def _write(session: Session, row: ScheduleRow, values: Mapping[str, Any]) -> None:
    done = session.connection().execute(
        update(ScheduleRow)
        .where(col(ScheduleRow.id) == row.id, col(ScheduleRow.version) == row.version)
        .values(**values, version=row.version + 1)
    )
    if not done.rowcount:
        raise _changed(row)


def _changed(row: ScheduleRow) -> Conflict:
    return Conflict(f"somebody else changed schedule {row.name!r} meanwhile", hint="look again")


def _fresh(session: Session, row: ScheduleRow) -> ScheduleRow:
    return session.exec(
        select(ScheduleRow)
        .where(ScheduleRow.id == row.id)
        .execution_options(populate_existing=True)
    ).one()


def _audit(
    session: Session,
    row: ScheduleRow,
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
        subject=f"{row.surface} schedule {row.name}",
        reason=reason,
        before=_plain(before),
        after=_plain(after),
    )


def _audit_run(session: Session, run: ScheduleRunRow, action: str, why: str) -> None:
    audit.record(
        session,
        who="schedule",
        action=action,
        subject=f"{run.surface} schedule {run.schedule}",
        reason=why,
        after={"run": run.id, "cause": run.cause},
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }
