"""Experiments: two arms, what was seen of their users, and what was concluded.

The state is JSON here; what it means is told by ``agents/experimentation/experiment.py``. Whoever
changes an experiment says which version of it they have read: of two at once one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from agenticrs.platform.errors import Conflict, NotAllowed, NotFound
from agenticrs.registry import audit, surface_rows
from agenticrs.registry.tables import AuditRow, ExperimentRow, ExperimentUserRow, utc_now

_BATCH = 500


def begin(session: Session, row: ExperimentRow) -> ExperimentRow:
    """Write it down, audited. Raises NotAllowed without a reason."""
    row.reason = row.reason.strip()
    if not row.reason:
        raise NotAllowed("an experiment needs a reason", hint="say why in a sentence")
    session.add(row)
    session.flush()
    _audit(session, row, row.who, "experiment begins", row.reason)
    return row


def get(session: Session, surface: str, number: int) -> ExperimentRow:
    """One of the surface's; raises NotFound."""
    row = session.get(ExperimentRow, number)
    if row is None or row.surface != surface:
        raise NotFound(
            f"there is no experiment {number} on {surface!r}", hint="agenticrs experiments list"
        )
    return row


def all_of(
    session: Session, surface: str, limit: int = 1000, offset: int = 0
) -> list[ExperimentRow]:
    """The surface's experiments, newest first."""
    return surface_rows.newest(session, ExperimentRow, surface, limit, offset)


def count(session: Session, surface: str) -> int:
    """How many there are."""
    return surface_rows.count(session, ExperimentRow, surface)


def let_count(session: Session, row: ExperimentRow, users: Sequence[str], step: int) -> None:
    """Let them count in that step and in no other.

    Raises NotAllowed when some have counted, Conflict when somebody else tells of them right now.
    """
    for start in range(0, len(users), _BATCH):
        some = users[start : start + _BATCH]
        known = session.exec(
            select(ExperimentUserRow.user_id).where(
                ExperimentUserRow.experiment_id == row.id, col(ExperimentUserRow.user_id).in_(some)
            )
        ).all()
        if known:
            raise NotAllowed(
                f"{known[0]!r} has counted in experiment {row.id} already",
                hint="a user counts once, when their reward has come due: leave them out",
            )
        values = [{"experiment_id": row.id, "user_id": user, "step": step} for user in some]
        try:
            session.connection().execute(insert(ExperimentUserRow), values)
        except IntegrityError as error:
            raise Conflict(
                f"somebody else tells of these users of experiment {row.id}", hint="look again"
            ) from error


def change(
    session: Session,
    row: ExperimentRow,
    *,
    state: str,
    who: str,
    reason: str,
    experiment: Mapping[str, Any] | None = None,
    step: Mapping[str, Any] | None = None,
) -> ExperimentRow:
    """Write the next state, if nobody else has written since ``row`` was read.

    What ends it is audited. Raises Conflict otherwise. Returns the row as it is now.
    """
    values: dict[str, Any] = {"state": state, "version": row.version + 1}
    if experiment is not None and step is not None:
        values |= {"experiment": dict(experiment), "steps": [*row.steps, dict(step)]}
        values["seen_at"] = utc_now()
    if state != "running":
        values["finished_at"] = utc_now()
    done = session.connection().execute(
        update(ExperimentRow)
        .where(
            col(ExperimentRow.id) == row.id,
            col(ExperimentRow.version) == row.version,
            col(ExperimentRow.state) == "running",
        )
        .values(**values)
    )
    if not done.rowcount:
        raise Conflict(
            f"experiment {row.id} is over, or somebody else changed it", hint="look again"
        )
    session.refresh(row)
    if state != "running":
        _audit(session, row, who, f"experiment: {state}", reason)
    return row


def decisions(session: Session, row: ExperimentRow) -> list[AuditRow]:
    """How it began and ended, newest first."""
    return list(
        session.exec(
            select(AuditRow)
            .where(AuditRow.subject == _subject(row))
            .order_by(col(AuditRow.id).desc())
        )
    )


def _audit(session: Session, row: ExperimentRow, who: str, action: str, reason: str) -> None:
    audit.record(
        session,
        who=who,
        action=action,
        subject=_subject(row),
        reason=reason,
        before={} if row.state == "running" else {"state": "running"},
        after={"state": row.state, "arms": [row.treatment, row.control], "steps": len(row.steps)},
    )


def _subject(row: ExperimentRow) -> str:
    return f"{row.surface} experiment {row.id}"
