"""Feedback on recommendations, kept durably until a cycle folds it into the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func
from sqlmodel import Session, col, select

from agenticrs.registry.tables import FeedbackRow


@dataclass(frozen=True)
class FeedbackEvent:
    """What one user did with one item; ``key`` makes sending it twice harmless."""

    key: str
    user_id: str
    item_id: str
    timestamp: int
    behaviours: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Accepted:
    """How many events were new, and how many were known by their key."""

    new: int
    repeated: int


def append(session: Session, dataset: str, events: Sequence[FeedbackEvent]) -> Accepted:
    """Keep the events whose keys are not known yet."""
    by_key = {event.key: event for event in events}
    known = set(session.exec(select(FeedbackRow.key).where(col(FeedbackRow.key).in_(list(by_key)))))
    new = [event for key, event in by_key.items() if key not in known]
    session.add_all(
        FeedbackRow(
            key=event.key,
            dataset=dataset,
            user_id=event.user_id,
            item_id=event.item_id,
            timestamp=event.timestamp,
            behaviours=dict(event.behaviours),
        )
        for event in new
    )
    session.flush()
    return Accepted(len(new), len(events) - len(new))


def pending(session: Session, dataset: str, after_id: int = 0) -> list[FeedbackRow]:
    """Events of a dataset with a larger id, oldest first."""
    return list(
        session.exec(
            select(FeedbackRow)
            .where(FeedbackRow.dataset == dataset, col(FeedbackRow.id) > after_id)
            .order_by(col(FeedbackRow.id))
        )
    )


def count(session: Session, dataset: str) -> int:
    """How many events are kept for a dataset."""
    return session.exec(
        select(func.count()).select_from(FeedbackRow).where(FeedbackRow.dataset == dataset)
    ).one()
