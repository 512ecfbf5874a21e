"""What people do to schedules: each change is checked, audited, and takes effect at the next look.

``AGENTICRS_SCHEDULE`` is kept as the schedule ``setting``: whoever starts the service writes it
down, and only the setting changes or removes it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from agenticrs.evolution.scheduling import plan, times
from agenticrs.evolution.scheduling.spec import InvalidSchedule, ScheduleSpec, check_name, spec_of
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, NotAllowed, SettingsError
from agenticrs.registry import schedules
from agenticrs.registry.tables import ScheduleRow, utc_now

SETTING = "setting"


def add(
    session: Session, surface: str, name: str, values: dict[str, Any], *, who: str, reason: str = ""
) -> ScheduleRow:
    """A new schedule; raises InvalidSchedule, Conflict when the name is taken."""
    if name == SETTING:
        raise InvalidSchedule({"name": f"{name!r} is what AGENTICRS_SCHEDULE is kept as"})
    spec = spec_of(values)
    return schedules.add(
        session, _row(surface, check_name(name), spec, "person"), who=who, reason=reason
    )


def edit(
    session: Session,
    surface: str,
    name: str,
    values: dict[str, Any],
    *,
    who: str,
    reason: str = "",
    version: int | None = None,
) -> ScheduleRow:
    """Another spec for a schedule, whose next time counts from now.

    ``version`` is that of the row that was shown. Raises InvalidSchedule, NotFound, NotAllowed for
    the setting's schedule, Conflict when somebody else changed it since.
    """
    row = _of_a_person(schedules.get(session, surface, name))
    if version is not None and version != row.version:
        raise Conflict(f"somebody else changed schedule {name!r} meanwhile", hint="look again")
    return _write(session, row, spec_of(values), who, reason)


def pause(session: Session, surface: str, name: str, *, who: str, reason: str) -> ScheduleRow:
    """Let nothing begin by it; raises NotFound, NotAllowed without a reason."""
    row = schedules.get(session, surface, name)
    reason = schedules.checked_reason(reason)
    if row.state == "paused":
        raise Conflict(f"schedule {name!r} is paused already")
    return schedules.change(
        session, row, who=who, action="pause schedule", reason=reason, state="paused"
    )


def resume(session: Session, surface: str, name: str, *, who: str, reason: str) -> ScheduleRow:
    """Let it go on from now: what would have run meanwhile is not made up for."""
    row = schedules.get(session, surface, name)
    reason = schedules.checked_reason(reason)
    if row.state == "active":
        raise Conflict(f"schedule {name!r} is not paused")
    return schedules.change(
        session,
        row,
        who=who,
        action="resume schedule",
        reason=reason,
        state="active",
        **_times(ScheduleSpec.model_validate(row.spec), row),
    )


def run_now(session: Session, surface: str, name: str, *, who: str, reason: str) -> ScheduleRow:
    """Ask the leader to begin a run; raises NotFound, NotAllowed without a reason."""
    return schedules.ask(session, schedules.get(session, surface, name), who=who, reason=reason)


def remove(session: Session, surface: str, name: str, *, who: str, reason: str) -> None:
    """Remove it; raises NotFound, NotAllowed for the setting's schedule or without a reason."""
    row = _of_a_person(schedules.get(session, surface, name))
    schedules.remove(session, row, who=who, reason=schedules.checked_reason(reason))


def follow_setting(engine: Engine, surface: str, cron: str | None) -> None:
    """Keep ``AGENTICRS_SCHEDULE`` as a row: made, changed or removed as the setting is.

    A pause stays. Raises SettingsError for a malformed expression.
    """
    # Of two processes that start at once one is too late, and finds done what it wanted.
    with suppress(Conflict), session_scope(engine) as session:
        _follow(session, surface, cron)


def _follow(session: Session, surface: str, cron: str | None) -> None:
    who = "AGENTICRS_SCHEDULE"
    row = schedules.find(session, surface, SETTING)
    if cron is None:
        if row is not None:
            schedules.remove(session, row, who=who, reason="it is not set any more")
        return
    try:
        spec = spec_of({"cron": cron, "timezone": times.local_zone()})
    except InvalidSchedule as error:
        raise SettingsError(
            f"schedule: {cron!r} is no cron expression: {error.fields.get('cron', error.message)}",
            hint='five fields, for example AGENTICRS_SCHEDULE="0 3 * * *"',
        ) from error
    if row is None:
        schedules.add(session, _row(surface, SETTING, spec, SETTING), who=who)
    elif ScheduleSpec.model_validate(row.spec) != spec:
        _write(session, row, spec, who, "the setting has changed")


def _row(surface: str, name: str, spec: ScheduleSpec, origin: str) -> ScheduleRow:
    row = ScheduleRow(
        surface=surface, name=name, spec=spec.model_dump(mode="json"), state="active", origin=origin
    )
    for column, value in _times(spec, row).items():
        setattr(row, column, value)
    return row


def _write(
    session: Session, row: ScheduleRow, spec: ScheduleSpec, who: str, reason: str
) -> ScheduleRow:
    return schedules.change(
        session,
        row,
        who=who,
        action="edit schedule",
        reason=reason,
        spec=spec.model_dump(mode="json"),
        **_times(spec, row),
    )


def _times(spec: ScheduleSpec, row: ScheduleRow) -> dict[str, Any]:
    first = plan.begin(spec, row.name, row.created_at, utc_now())
    return {"due_at": first.due, "start_at": first.start}


def _of_a_person(row: ScheduleRow) -> ScheduleRow:
    if row.origin == SETTING:
        raise NotAllowed(
            f"schedule {row.name!r} is what AGENTICRS_SCHEDULE says",
            hint="change the setting and start the service again; pausing it is possible",
        )
    return row
