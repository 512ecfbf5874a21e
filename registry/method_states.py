"""What methods that learn have learnt: an immutable row for each version."""

from __future__ import annotations

from sqlmodel import Session, col, select

from agenticrs.registry.tables import MethodStateRow


def latest(
    session: Session,
    *,
    surface: str,
    agent: str,
    method: str,
    space: str,
    before_cycle: int | None = None,
) -> MethodStateRow | None:
    """The newest version in that space, or None.

    ``before_cycle`` leaves out what was learnt in that cycle or later ones: a cycle that goes on
    after a kill begins with what it began with.
    """
    query = select(MethodStateRow).where(
        MethodStateRow.surface == surface,
        MethodStateRow.agent == agent,
        MethodStateRow.method == method,
        MethodStateRow.space == space,
    )
    if before_cycle is not None:
        query = query.where(col(MethodStateRow.cycle_id) < before_cycle)
    return session.exec(query.order_by(col(MethodStateRow.version).desc())).first()


def store(
    session: Session,
    *,
    surface: str,
    agent: str,
    method: str,
    space: str,
    cycle_id: int,
    content: bytes,
) -> MethodStateRow:
    """Keep what was learnt in a cycle as the next version; once for a cycle."""
    known = latest(session, surface=surface, agent=agent, method=method, space=space)
    if known is not None and known.cycle_id == cycle_id:
        return known
    row = MethodStateRow(
        surface=surface,
        agent=agent,
        method=method,
        space=space,
        version=1 + (known.version if known else 0),
        content=content,
        cycle_id=cycle_id,
    )
    session.add(row)
    session.flush()
    return row
