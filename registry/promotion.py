"""What serves on a surface, and every way in which that changes.

A change is written down as an intention, then the aliases in MLflow are moved, then it is marked as
done together with its audit entry (``intentions.py``).

MLflow's aliases are the truth: ``reconcile`` follows a person who moves ``champion`` there, or
deletes it. What it cannot follow (a version that is gone, or that the registry does not know)
changes nothing and is audited once.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine
from sqlmodel import Session, select

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, InvalidComposition, NotAllowed, NotFound
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import audit, compositions, intentions, taken_back, versions
from agenticrs.registry.graph import Graph
from agenticrs.registry.intentions import IN_FLIGHT, finish_pending, history
from agenticrs.registry.tables import CompositionRow, PromotionRow
from agenticrs.registry.taken_back import Missing

__all__ = [
    "IN_FLIGHT",
    "finish_pending",
    "history",
    "promote",
    "reconcile",
    "rollback",
    "serving",
    "surfaces",
]


def serving(session: Session, surface: str) -> CompositionRow | None:
    """The composition that serves: that of the latest promotion that was carried out."""
    last = history(session, surface, limit=1)
    return compositions.find(session, surface, last[0].after) if last else None


def surfaces(session: Session) -> list[str]:
    """Names of the surfaces on which something serves."""
    found = select(PromotionRow.surface).where(PromotionRow.state == "done").distinct()
    return sorted(session.exec(found))


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
    instead_of: int | None = None,
) -> PromotionRow:
    """Let composition ``after`` serve; a key that was used before is not carried out again.

    What was cut off earlier is completed first, so that it cannot undo this one later.
    ``instead_of``: what it was compared with, and so what must serve until now.

    Raises NotFound for an unknown composition, Conflict while another promotion is under way (or
    the key stands for another composition), Stale when ``instead_of`` does not serve, TrackingError
    when MLflow refuses (nothing has changed then) or cannot be reached (the intention stays and is
    completed later).
    """
    wanted = PromotionRow(
        surface=surface,
        after=after,
        state="pending",
        who=who,
        reason=reason,
        cause=cause,
        key=key,
    )
    return intentions.carry(engine, tracking, wanted, instead_of=instead_of)


def rollback(
    engine: Engine, tracking: Tracking, *, surface: str, to: int | None, who: str, reason: str
) -> PromotionRow:
    """Let an earlier composition serve again; None = the one that served before the present one.

    Raises NotAllowed without a reason or for one that has never served (who may go back need not be
    who may approve), NotFound when there is nothing to go back to, Conflict when that composition
    serves already.
    """
    if not reason.strip():
        raise NotAllowed("a rollback needs a reason", hint="say why in a sentence")
    finish_pending(engine, tracking, surface, IN_FLIGHT)
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
        compositions.get(session, surface, to)
        if not intentions.has_served(session, surface, to):
            raise NotAllowed(
                f"composition {to} has never served, so this would be no way back",
                hint="a change to it needs a proposal, and whoever must approve that",
            )
    return promote(
        engine,
        tracking,
        surface=surface,
        after=to,
        who=who,
        reason=reason.strip(),
        cause="rollback",
        key=f"rollback-{surface}-{done[0].id}-{to}",
    )


def reconcile(
    engine: Engine, tracking: Tracking, surface: str, missing: Missing | None = None
) -> PromotionRow | None:
    """Follow what a person did to the aliases in MLflow; return the promotion when there was one.

    ``missing`` remembers deleted aliases from call to call; without it they are audited alone.
    Raises TrackingError when MLflow cannot be reached.
    """
    with session_scope(engine) as session:
        if any(intentions.is_young(row) for row in intentions.pending(session, surface)):
            return None
    finish_pending(engine, tracking, surface)
    with session_scope(engine) as session:
        last, row = intentions.last_id(session, surface), serving(session, surface)
    if last is None or row is None:
        return None
    agents = Graph.model_validate(row.graph).agents()
    found = tracking.aliases([row.model, *(versions.model_name(surface, name) for name in agents)])
    champions = {model: of.get("champion") for model, of in found.items()}
    with session_scope(engine) as session:
        # Aliases that a promotion of our own moved while they were read are nobody else's doing.
        if intentions.pending(session, surface) or intentions.last_id(session, surface) != last:
            return None
        moved = _moved(session, row, champions)
    meant = missing.meant(_deleted(row, champions)) if missing else []
    if moved:
        return _follow(engine, tracking, row, last, moved, "was moved in MLflow to version")
    if missing is None or not meant:
        return None
    back = taken_back.before(engine, tracking, row, meant)
    how = "was deleted in MLflow, so what stood there before serves again: version"
    followed = _follow(engine, tracking, row, last, back, how) if back else None
    missing.settle(meant)
    return followed


def _deleted(row: CompositionRow, champions: Mapping[str, int | None]) -> list[str]:
    """Models whose alias is gone: the composition's, else those of its agents."""
    gone = [model for model, number in champions.items() if number is None]
    if row.model in gone:
        return [row.model]
    return gone if champions.get(row.model) == row.number else []


def _moved(
    session: Session, row: CompositionRow, champions: Mapping[str, int | None]
) -> dict[str, int]:
    """Where a person put aliases (model -> version), the composition's before its agents'.

    What cannot be followed is left out and audited.
    """
    number = champions.get(row.model)
    if number != row.number:
        if number is not None and compositions.find(session, row.surface, number) is not None:
            return {row.model: number}
        _diverges(session, row.surface, row.model, row.number, number)
        return {}
    moved: dict[str, int] = {}
    for agent, ours in Graph.model_validate(row.graph).agents().items():
        model = versions.model_name(row.surface, agent)
        theirs = champions.get(model)
        if theirs is None or versions.find(session, row.surface, agent, theirs) is None:
            _diverges(session, row.surface, model, ours, theirs)
        elif theirs != ours:
            moved[model] = theirs
    return moved


def _derived(
    engine: Engine, tracking: Tracking, row: CompositionRow, moved: Mapping[str, int]
) -> int | None:
    """Number of the composition with the agents where they were put, or None when it is refused."""
    graph = Graph.model_validate(row.graph)
    pinned = graph.agents()
    for agent in pinned:
        graph = graph.with_version(
            agent, moved.get(versions.model_name(row.surface, agent), pinned[agent])
        )
    try:
        return compositions.register(
            engine,
            tracking,
            surface=row.surface,
            graph=graph,
            dataset=row.dataset,
            fingerprint=row.fingerprint,
            metrics={},
            parent=row.number,
        ).number
    except InvalidComposition as error:  # an agent of it is no longer admitted
        with session_scope(engine) as session:
            for model, number in moved.items():
                _diverges(session, row.surface, model, row.number, number, why=str(error))
        return None


def _follow(
    engine: Engine,
    tracking: Tracking,
    row: CompositionRow,
    last: int,
    moved: Mapping[str, int],
    how: str,
) -> PromotionRow | None:
    after = moved[row.model] if row.model in moved else _derived(engine, tracking, row, moved)
    if after is None:
        return None
    what = "; ".join(f"alias champion of {model} {how} {number}" for model, number in moved.items())
    wanted = PromotionRow(
        surface=row.surface,
        after=after,
        state="pending",
        who="mlflow",
        reason=what,
        cause="external",
        key=f"external-{row.surface}-{last}-{after}",
    )
    try:
        return intentions.carry(engine, tracking, wanted, since=last)
    except Conflict:  # something else was promoted meanwhile: the next poll sees what is left
        return None


def _diverges(
    session: Session, surface: str, model: str, ours: int, theirs: int | None, why: str = ""
) -> None:
    """Audit a state of MLflow that cannot be followed, unless it was the last thing said."""
    subject = f"{surface} {model}"
    for entry in audit.entries(session, 200, action="divergence"):
        if entry.subject == subject:
            if entry.after.get("champion", 0) == theirs and entry.before == {"serves": ours}:
                return
            break
    what = "was deleted" if theirs is None else f"points at version {theirs}, unknown here"
    if why:
        what = f"points at version {theirs}, which cannot serve: {why}"
    audit.record(
        session,
        who="mlflow",
        action="divergence",
        subject=subject,
        reason=f"alias champion of {model} {what}; version {ours} keeps serving",
        before={"serves": ours},
        after={"champion": theirs},
    )
