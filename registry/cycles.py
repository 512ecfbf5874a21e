"""Cycles and their steps. A step that is done stays done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from agenticrs.platform.errors import NotFound
from agenticrs.registry import outbox
from agenticrs.registry.tables import CycleRow, StepRow, utc_now

STATES = ("running", "waiting", "done", "failed", "cancelled")


def open_cycle(
    session: Session,
    *,
    surface: str,
    kind: str,
    dataset: str,
    fingerprint: str,
    seed: int,
    request: Mapping[str, Any],
) -> CycleRow:
    """Begin a cycle: a row in state running."""
    row = CycleRow(
        surface=surface,
        kind=kind,
        state="running",
        dataset=dataset,
        fingerprint=fingerprint,
        seed=seed,
        request=dict(request),
    )
    session.add(row)
    session.flush()
    return row


def get(session: Session, cycle_id: int) -> CycleRow:
    """The cycle with that id; raises NotFound."""
    row = session.get(CycleRow, cycle_id)
    if row is None:
        raise NotFound(f"there is no cycle {cycle_id}", hint="see `agenticrs cycles list`")
    return row


def list_all(
    session: Session,
    surface: str | None = None,
    limit: int = 50,
    offset: int = 0,
    *,
    state: str | None = None,
    kind: str | None = None,
) -> list[CycleRow]:
    """The newest cycles first (of a surface, in a state, of a kind)."""
    query = select(CycleRow).where(*_that(surface, state, kind))
    return list(session.exec(query.order_by(col(CycleRow.id).desc()).limit(limit).offset(offset)))


def count(
    session: Session, surface: str, *, state: str | None = None, kind: str | None = None
) -> int:
    """How many there are."""
    return session.exec(
        select(func.count()).select_from(CycleRow).where(*_that(surface, state, kind))
    ).one()


def kinds(session: Session, surface: str) -> list[str]:
    """The kinds of cycles that have run on a surface."""
    query = select(CycleRow.kind).where(CycleRow.surface == surface).distinct()
    return sorted(session.exec(query))


def _that(surface: str | None, state: str | None, kind: str | None) -> list[ColumnElement[bool]]:
    wanted = ((CycleRow.surface, surface), (CycleRow.state, state), (CycleRow.kind, kind))
    return [col(column) == value for column, value in wanted if value is not None]


def last_plan(session: Session, surface: str, kind: str) -> dict[str, Any]:
    """The plan of the newest finished cycle of a kind, or an empty one."""
    row = session.exec(
        select(StepRow)
        .join(CycleRow, col(CycleRow.id) == StepRow.cycle_id)
        .where(CycleRow.surface == surface, CycleRow.kind == kind)
        .where(StepRow.name == "plan", StepRow.state == "done")
        .order_by(col(StepRow.id).desc())
    ).first()
    return {} if row is None else dict(row.result)


def unfinished(session: Session, surface: str) -> list[CycleRow]:
    """Cycles that are running or waiting, oldest first."""
    return list(
        session.exec(
            select(CycleRow)
            .where(CycleRow.surface == surface, col(CycleRow.state).in_(("running", "waiting")))
            .order_by(col(CycleRow.id))
        )
    )


def steps(session: Session, cycle_id: int) -> list[StepRow]:
    """The steps that have begun, in their order."""
    return list(
        session.exec(select(StepRow).where(StepRow.cycle_id == cycle_id).order_by(col(StepRow.id)))
    )


def results(session: Session, surface: str, name: str, limit: int) -> list[StepRow]:
    """The newest finished steps of that name on a surface, the oldest of them first."""
    newest = session.exec(
        select(StepRow)
        .join(CycleRow, col(CycleRow.id) == StepRow.cycle_id)
        .where(CycleRow.surface == surface, StepRow.name == name)
        .where(col(StepRow.finished_at).is_not(None))
        .order_by(col(StepRow.id).desc())
        .limit(limit)
    )
    return list(reversed(newest.all()))


def begin_step(session: Session, cycle_id: int, name: str) -> StepRow:
    """Note that a step starts (again); the cycle is running from now on."""
    cycle = get(session, cycle_id)
    row = _step(session, cycle_id, name)
    if row is None:
        row = StepRow(cycle_id=cycle_id, name=name, state="running")
    else:
        row.state, row.error, row.attempts = "running", "", row.attempts + 1
    session.add(row)
    cycle.state = "running"
    session.add(cycle)
    session.flush()
    return row


def finish_step(
    session: Session,
    cycle_id: int,
    name: str,
    result: Mapping[str, Any],
    state: str = "done",
    error: str = "",
) -> None:
    """Keep a step's result; ``state`` is done, waiting, skipped, or failed with an ``error``."""
    row = _step(session, cycle_id, name)
    if row is None:
        raise NotFound(f"step {name!r} of cycle {cycle_id} has not begun")
    row.state, row.result, row.error, row.finished_at = state, dict(result), error, utc_now()
    session.add(row)


def finish(session: Session, cycle_id: int, state: str, error: str = "") -> None:
    """Set the cycle's state: done, waiting, failed or cancelled."""
    row = get(session, cycle_id)
    row.state, row.error = state, error
    row.finished_at = None if state == "waiting" else utc_now()
    session.add(row)
    if state == "failed":
        outbox.post(
            session,
            key=f"cycle:{cycle_id}:failed",
            surface=row.surface,
            event="cycle.failed",
            subject=f"Cycle {cycle_id} on {row.surface} failed",
            text=error,
            data={"cycle": cycle_id, "kind": row.kind, "path": f"/cycles/{cycle_id}"},
        )


def _step(session: Session, cycle_id: int, name: str) -> StepRow | None:
    return session.exec(
        select(StepRow).where(StepRow.cycle_id == cycle_id, StepRow.name == name)
    ).first()
