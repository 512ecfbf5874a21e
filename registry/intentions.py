"""A change of what serves as a durable intention: written down, carried out, marked as done.

Killed anywhere in between, it is completed before the next one begins, so that it cannot undo a
later one. Of two at once at most one goes on, and what MLflow refuses is withdrawn. Which changes
there are is told by ``promotion.py``.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import Delete, Engine, Update, delete, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, Stale, TrackingAway, TrackingError
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import audit, compositions, outbox, versions
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import CompositionRow, PromotionRow, utc_now

IN_FLIGHT = timedelta(seconds=60)
"""A pending promotion younger than this is another process at work; an older one was cut off."""


def history(session: Session, surface: str, limit: int = 50) -> list[PromotionRow]:
    """Promotions that were carried out, newest first."""
    return list(
        session.exec(
            select(PromotionRow)
            .where(PromotionRow.surface == surface, PromotionRow.state == "done")
            .order_by(col(PromotionRow.id).desc())
            .limit(limit)
        )
    )


def last_id(session: Session, surface: str) -> int | None:
    """Id of the latest promotion that was carried out, or None."""
    return next((row.id for row in history(session, surface, limit=1)), None)


def why_stale(session: Session, surface: str, before: int | None) -> str:
    """Why a change that was compared with ``before`` may not be made now; empty: it may.

    Its evidence holds as long as that composition serves. None: it was compared with nothing, as
    the first one is. This is looked up and kept nowhere: after a rollback the evidence holds again.
    """
    last = history(session, surface, limit=1)
    if before is None or not last or last[0].after == before:
        return ""
    return f"it was compared with composition {before}, but composition {last[0].after} serves now"


def refuse_stale(session: Session, surface: str, before: int | None, what: str) -> None:
    """Raise Stale where ``before`` no longer serves; ``what`` begins the sentence."""
    if why := why_stale(session, surface, before):
        raise Stale(
            f"{what} is stale: {why}",
            hint="evolve again: a new cycle compares with what serves",
        )


def has_served(session: Session, surface: str, number: int) -> bool:
    """Whether that composition has served all users of the surface at some time."""
    done = (PromotionRow.surface == surface, PromotionRow.state == "done")
    found = select(PromotionRow.id).where(*done, PromotionRow.after == number)
    return session.exec(found).first() is not None


def served_versions(session: Session, surface: str, limit: int = 50) -> dict[str, list[int]]:
    """Versions of each agent in the newest compositions that have served, newest first."""
    found: dict[str, dict[int, None]] = {}
    for promotion in history(session, surface, limit):
        row = compositions.get(session, surface, promotion.after)
        for agent, number in Graph.model_validate(row.graph).agents().items():
            found.setdefault(agent, {})[number] = None
    return {agent: list(numbers) for agent, numbers in found.items()}


def pending(session: Session, surface: str) -> list[PromotionRow]:
    """Intentions that are not carried out, oldest first."""
    return list(
        session.exec(
            select(PromotionRow)
            .where(PromotionRow.surface == surface, PromotionRow.state == "pending")
            .order_by(col(PromotionRow.id))
        )
    )


def is_young(row: PromotionRow) -> bool:
    """Whether another process may be carrying it out right now."""
    return utc_now() - row.at < IN_FLIGHT


def finish_pending(
    engine: Engine, tracking: Tracking, surface: str, older_than: timedelta = timedelta(0)
) -> int:
    """Complete promotions that were cut off; return how many.

    Raises TrackingError when MLflow cannot be reached; what it refuses is withdrawn.
    """
    with session_scope(engine) as session:
        rows = [r for r in pending(session, surface) if utc_now() - r.at >= older_than]
    completed = 0
    for row in rows:
        try:
            _carry_out(engine, tracking, row)
            completed += 1
        except Conflict:  # somebody else has withdrawn it
            continue
        except TrackingError:
            with session_scope(engine) as session:
                if session.get(PromotionRow, row.id) is not None:
                    raise
    return completed


def carry(
    engine: Engine,
    tracking: Tracking,
    wanted: PromotionRow,
    since: int | None = None,
    instead_of: int | None = None,
) -> PromotionRow:
    """Write the intention down and carry it out; Conflict when ``since`` is not the last one.

    Raises Stale where ``instead_of`` is given and another composition serves.
    """

    def refuse(session: Session) -> None:
        what = f"the promotion of composition {wanted.after}"
        refuse_stale(session, wanted.surface, instead_of, what)
        _refuse_during(session, wanted)

    with session_scope(engine) as session:
        known = _by_key(session, wanted)
        if known is not None and known.state == "done":
            return known
    finish_pending(engine, tracking, wanted.surface, IN_FLIGHT)
    with session_scope(engine) as session:
        known = _by_key(session, wanted)
        if known is None:
            refuse(session)
            last = history(session, wanted.surface, limit=1)
            if since is not None and last_id(session, wanted.surface) != since:
                raise _under_way(wanted.surface)
            compositions.get(session, wanted.surface, wanted.after)
            wanted.before = last[0].after if last else None
            session.add(wanted)
            try:
                session.flush()
            except IntegrityError as error:
                raise Conflict(f"promotion {wanted.key!r} is under way already") from error
    if known is not None:
        return known if known.state == "done" else _carry_out(engine, tracking, known)
    with session_scope(engine) as session:
        # Two may have looked before either had written. Now that this one is written, whoever
        # sees another one steps back: at most one goes on, on every database.
        try:
            refuse(session)
            if last_id(session, wanted.surface) != (last[0].id if last else None):
                raise _under_way(wanted.surface)
            crossed = None
        except Conflict as error:
            crossed = error if _withdraw(session, wanted) else None
    if crossed is not None:
        raise crossed
    return _carry_out(engine, tracking, wanted)


def _carry_out(engine: Engine, tracking: Tracking, row: PromotionRow) -> PromotionRow:
    with session_scope(engine) as session:
        composition = compositions.get(session, row.surface, row.after)
        last = history(session, row.surface, limit=1)
        before = compositions.find(session, row.surface, last[0].after) if last else None
    try:
        for model, number in _pins(composition).items():
            tracking.set_alias(model, "champion", number)
    except TrackingAway:
        raise  # what it has done of it is not known: the intention stays, and is completed later
    except TrackingError as refusal:
        for model, number in _pins(before).items() if before else ():
            try:
                tracking.set_alias(model, "champion", number)
            except TrackingError:  # its version is gone: the alias must not stay on the new one
                with suppress(TrackingError):
                    tracking.delete_alias(model, "champion")
        with session_scope(engine) as session:
            if _withdraw(session, row):
                _audit(session, row, "refused", f"{row.reason}; MLflow refused: {refusal}")
        raise
    with session_scope(engine) as session:
        if _if_pending(session, update(PromotionRow).values(state="done"), row):
            _audit(session, row, "promote", row.reason)
            _tell_of_a_rollback(session, row)
        stored = session.get(PromotionRow, row.id)
    if stored is None:
        raise Conflict(f"promotion of composition {row.after} was withdrawn")
    return stored


def _pins(composition: CompositionRow) -> dict[str, int]:
    """Model -> version of its members, and of itself last: what serves changes with that one."""
    members = Graph.model_validate(composition.graph).agents().items()
    pins = {versions.model_name(composition.surface, agent): number for agent, number in members}
    return {**pins, composition.model: composition.number}


def _audit(session: Session, row: PromotionRow, action: str, reason: str) -> None:
    audit.record(
        session,
        who=row.who,
        action=action,
        subject=f"{row.surface} composition {row.after}",
        reason=reason,
        before=_state(session, row.surface, row.before),
        after={
            **_state(session, row.surface, row.after),
            "cause": row.cause,
            # Of a cycle or a proposal: what it rests on stands there.
            "evidence": row.key,
        },
    )


def _state(session: Session, surface: str, number: int | None) -> dict[str, Any]:
    found = None if number is None else compositions.find(session, surface, number)
    return {"composition": number, "digest": found.digest if found else None}


def _tell_of_a_rollback(session: Session, row: PromotionRow) -> None:
    """Let people know, also where somebody moved an alias back in MLflow."""
    back = row.cause == "rollback"
    if row.cause == "external":
        before = (PromotionRow.surface == row.surface, PromotionRow.after == row.after)
        earlier = select(PromotionRow).where(*before, col(PromotionRow.id) < row.id)
        back = session.exec(earlier).first() is not None
    if back:
        outbox.post(
            session,
            key=f"rollback:{row.id}",
            surface=row.surface,
            event="rollback",
            subject=f"Composition {row.after} serves again on {row.surface}",
            text=f"{row.who}: {row.reason}",
            data={"before": row.before, "after": row.after, "cause": row.cause, "path": "/"},
        )


def _withdraw(session: Session, row: PromotionRow) -> bool:
    """Take an intention back; False when somebody else has carried it out."""
    return _if_pending(session, delete(PromotionRow), row)


def _if_pending(session: Session, change: Update | Delete, row: PromotionRow) -> bool:
    """One conditional statement, so that of two processes only one succeeds."""
    done = session.connection().execute(
        change.where(col(PromotionRow.id) == row.id, col(PromotionRow.state) == "pending")
    )
    return bool(done.rowcount)


def _refuse_during(session: Session, wanted: PromotionRow) -> None:
    others = [row for row in pending(session, wanted.surface) if row.id != wanted.id]
    if others:
        raise _under_way(wanted.surface, f": composition {others[0].after}")


def _under_way(surface: str, what: str = "") -> Conflict:
    return Conflict(f"another change of {surface!r} is under way{what}", hint="try again soon")


def _by_key(session: Session, wanted: PromotionRow) -> PromotionRow | None:
    known = session.exec(select(PromotionRow).where(PromotionRow.key == wanted.key)).first()
    if known is not None and known.after != wanted.after:
        raise Conflict(f"key {wanted.key!r} stands for the promotion of composition {known.after}")
    return known
