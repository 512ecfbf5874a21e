"""What serves on a surface, and every way in which that changes.

A change is written down as an intention, then the aliases in MLflow are moved, then it is marked as
done together with its audit entry. Killed in between, it is completed at the next start; with the
same key it is never carried out twice.

MLflow's aliases are the truth: ``reconcile`` follows a person who moves ``champion`` there. What it
cannot follow (an alias that is gone, a version that the registry does not know) changes nothing
and is audited once.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, NotAllowed, NotFound
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import audit, compositions, versions
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import CompositionRow, PromotionRow, VersionRow, utc_now

IN_FLIGHT = timedelta(seconds=60)
"""A pending promotion younger than this is another process at work; an older one was cut off."""


def serving(session: Session, surface: str) -> CompositionRow | None:
    """The composition that serves: that of the latest promotion that was carried out."""
    last = _last_done(session, surface)
    return compositions.find(session, surface, last.after) if last else None


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


def promote(
    engine: Engine,
    tracking: Tracking,
    *,
    surface: str,
    after: int,
    who: str,
    reason: str,
    cause: str,
    key: str,
) -> PromotionRow:
    """Let composition ``after`` serve; a key that was used before is not carried out again.

    Raises NotFound for an unknown composition, Conflict while another promotion is under way.
    """
    with session_scope(engine) as session:
        known = _by_key(session, key)
        if known is not None and known.state == "done":
            return known
        compositions.get(session, surface, after)
        if known is None:
            others = [row for row in _pending(session, surface) if _young(row)]
            if others:
                raise Conflict(
                    f"another change of {surface!r} is under way: composition {others[0].after}",
                    hint="try again in a moment",
                )
            before = _last_done(session, surface)
            known = PromotionRow(
                surface=surface,
                before=before.after if before else None,
                after=after,
                state="pending",
                who=who,
                reason=reason,
                cause=cause,
                key=key,
            )
            session.add(known)
            try:
                session.flush()
            except IntegrityError as error:
                raise Conflict(f"promotion {key!r} is under way already") from error
    return _carry_out(engine, tracking, known)


def finish_pending(
    engine: Engine, tracking: Tracking, surface: str, older_than: timedelta = timedelta(0)
) -> int:
    """Complete promotions that were cut off; return how many."""
    with session_scope(engine) as session:
        rows = [r for r in _pending(session, surface) if utc_now() - r.at >= older_than]
    for row in rows:
        _carry_out(engine, tracking, row)
    return len(rows)


def rollback(
    engine: Engine, tracking: Tracking, *, surface: str, to: int | None, who: str, reason: str
) -> PromotionRow:
    """Let an earlier composition serve again; None = the one that served before the present one.

    Raises NotAllowed without a reason, NotFound when there is nothing to go back to, Conflict when
    that composition serves already.
    """
    if not reason.strip():
        raise NotAllowed("a rollback needs a reason", hint="say why in a sentence")
    with session_scope(engine) as session:
        done = history(session, surface, limit=1000)
        if not done:
            raise NotFound(f"nothing serves on {surface!r}", hint="run `agenticrs evolve`")
        now = done[0].after
        if to is None:
            to = next((row.after for row in done if row.after != now), None)
            if to is None:
                raise NotFound(f"composition {now} is the first that ever served on {surface!r}")
        if to == now:
            raise Conflict(f"composition {to} serves already")
    return promote(
        engine,
        tracking,
        surface=surface,
        after=to,
        who=who,
        reason=reason.strip(),
        cause="rollback",
        key=f"rollback-{surface}-{done[0].id}",
    )


def reconcile(engine: Engine, tracking: Tracking, surface: str) -> PromotionRow | None:
    """Follow what a person did to the aliases in MLflow; return the promotion when there was one.

    Raises TrackingError when MLflow cannot be reached.
    """
    with session_scope(engine) as session:
        if any(_young(row) for row in _pending(session, surface)):
            return None
    finish_pending(engine, tracking, surface)
    with session_scope(engine) as session:
        last, row = _last_done(session, surface), serving(session, surface)
    if last is None or row is None:
        return None
    graph = Graph.model_validate(row.graph)
    models = {versions.model_name(surface, agent): agent for agent in graph.agents()}
    found = tracking.aliases([row.model, *models])
    champion = found.get(row.model, {}).get("champion")
    if champion != row.number:
        with session_scope(engine) as session:
            known = champion is not None and compositions.find(session, surface, champion)
        if champion is None or not known:
            _diverges(engine, surface, row.model, row.number, champion)
            return None
        return _follow(engine, tracking, surface, champion, row.model, champion, last)
    for model, agent in models.items():
        number = found.get(model, {}).get("champion")
        if number == graph.agents()[agent]:
            continue
        if number is None or not _version_exists(engine, surface, agent, number):
            _diverges(engine, surface, model, graph.agents()[agent], number)
            continue
        derived = compositions.register(
            engine,
            tracking,
            surface=surface,
            graph=graph.with_version(agent, number),
            dataset=row.dataset,
            fingerprint=row.fingerprint,
            metrics={},
            parent=row.number,
        )
        return _follow(engine, tracking, surface, derived.number, model, number, last)
    return None


def _follow(
    engine: Engine,
    tracking: Tracking,
    surface: str,
    after: int,
    model: str,
    number: int,
    last: PromotionRow,
) -> PromotionRow:
    return promote(
        engine,
        tracking,
        surface=surface,
        after=after,
        who="mlflow",
        reason=f"alias champion of {model} was moved in MLflow to version {number}",
        cause="external",
        key=f"external-{surface}-{last.id}-{model}-{number}",
    )


def _carry_out(engine: Engine, tracking: Tracking, row: PromotionRow) -> PromotionRow:
    with session_scope(engine) as session:
        composition = compositions.get(session, row.surface, row.after)
    for agent, number in Graph.model_validate(composition.graph).agents().items():
        tracking.set_alias(versions.model_name(row.surface, agent), "champion", number)
    tracking.set_alias(composition.model, "champion", composition.number)
    with session_scope(engine) as session:
        stored = session.get(PromotionRow, row.id, with_for_update=True)
        if stored is None:
            raise NotFound(f"promotion {row.id} is gone")
        if stored.state != "done":
            stored.state = "done"
            session.add(stored)
            audit.record(
                session,
                who=stored.who,
                action="promote",
                subject=f"{stored.surface} composition {stored.after}",
                reason=stored.reason,
                before={"composition": stored.before},
                after={"composition": stored.after, "cause": stored.cause},
            )
    return stored


def _diverges(engine: Engine, surface: str, model: str, ours: int, theirs: int | None) -> None:
    """Audit a state of MLflow that cannot be followed, unless it was the last thing said."""
    subject = f"{surface} {model}"
    with session_scope(engine) as session:
        for entry in audit.entries(session, 200, action="divergence"):
            if entry.subject == subject:
                if entry.after == {"champion": theirs} and entry.before == {"serves": ours}:
                    return
                break
        what = "was deleted" if theirs is None else f"points at version {theirs}, unknown here"
        audit.record(
            session,
            who="mlflow",
            action="divergence",
            subject=subject,
            reason=f"alias champion of {model} {what}; version {ours} keeps serving",
            before={"serves": ours},
            after={"champion": theirs},
        )


def _version_exists(engine: Engine, surface: str, agent: str, number: int) -> bool:
    with session_scope(engine) as session:
        return (
            session.exec(
                select(VersionRow).where(
                    VersionRow.surface == surface,
                    VersionRow.agent == agent,
                    VersionRow.number == number,
                )
            ).first()
            is not None
        )


def _last_done(session: Session, surface: str) -> PromotionRow | None:
    return next(iter(history(session, surface, limit=1)), None)


def _pending(session: Session, surface: str) -> list[PromotionRow]:
    return list(
        session.exec(
            select(PromotionRow)
            .where(PromotionRow.surface == surface, PromotionRow.state == "pending")
            .order_by(col(PromotionRow.id))
        )
    )


def _by_key(session: Session, key: str) -> PromotionRow | None:
    return session.exec(select(PromotionRow).where(PromotionRow.key == key)).first()


def _young(row: PromotionRow) -> bool:
    return utc_now() - row.at < IN_FLIGHT
