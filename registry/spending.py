"""What a surface has spent since a moment: the sums of its trials, whoever began their cycles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from agenticrs.registry.tables import CycleRow, TrialRow


@dataclass(frozen=True)
class Spending:
    """Trial seconds, seconds times the share of a GPU, money for language models."""

    seconds: float = 0.0
    gpu_seconds: float = 0.0
    llm_money: float = 0.0


def since(session: Session, surface: str, begin: datetime) -> Spending:
    """Of trials that were proposed since then. What runs now is counted when it ends."""
    return _sum(session, col(CycleRow.surface) == surface, col(TrialRow.created_at) >= begin)


def of_cycle(session: Session, cycle_id: int) -> Spending:
    """Of one cycle's trials."""
    return _sum(session, col(TrialRow.cycle_id) == cycle_id)


def _sum(session: Session, *which: ColumnElement[bool]) -> Spending:
    money = col(TrialRow.note)["cost"]["money"].as_float()
    found = session.exec(
        select(
            func.coalesce(func.sum(TrialRow.seconds), 0.0),
            func.coalesce(func.sum(TrialRow.gpu_seconds), 0.0),
            func.coalesce(func.sum(money), 0.0),
        )
        .join(CycleRow, col(CycleRow.id) == TrialRow.cycle_id)
        .where(*which)
    ).one()
    return Spending(*(float(value) for value in found))
