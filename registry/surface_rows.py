"""Rows of which each belongs to one surface: a page of them, and how many there are."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import func
from sqlmodel import Session, col, select

from agenticrs.registry.tables import (
    CanaryRow,
    CompositionRow,
    ExperimentRow,
    ObjectiveRow,
    ProposalRow,
)

RowT = TypeVar("RowT", CanaryRow, CompositionRow, ExperimentRow, ObjectiveRow, ProposalRow)


def newest(
    session: Session, kind: type[RowT], surface: str, limit: int | None, offset: int
) -> list[RowT]:
    """The surface's rows, newest first; without a ``limit`` all of them."""
    return list(
        session.exec(
            select(kind)
            .where(col(kind.surface) == surface)
            .order_by(col(kind.id).desc())
            .limit(limit)
            .offset(offset)
        )
    )


def count(session: Session, kind: type[RowT], surface: str) -> int:
    """How many rows the surface has."""
    return session.exec(
        select(func.count()).select_from(kind).where(col(kind.surface) == surface)
    ).one()
