"""Feedback on recommendations, kept durably until a cycle folds it into the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from agenticrs.registry.tables import FeedbackRow, utc_now

_WRITERS = 0xFEEDBAC
"""PostgreSQL's number for the lock of those who append."""


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
    """Keep the events whose keys are not known yet; of several with one key, the first.

    The database decides what is known, so that two processes that are sent the same key at the
    same time keep it once. Commit soon: until then nobody else can append.
    """
    by_key: dict[str, dict[str, object]] = {}
    for event in events:
        row = {
            "key": event.key,
            "dataset": dataset,
            "user_id": event.user_id,
            "item_id": event.item_id,
            "timestamp": event.timestamp,
            "behaviours": dict(event.behaviours),
            "received_at": utc_now(),
        }
        by_key.setdefault(event.key, row)
    if not by_key:
        return Accepted(0, 0)
    sqlite_serves = session.get_bind().dialect.name == "sqlite"
    if not sqlite_serves:
        # One writer at a time, as SQLite has it anyway. Two batches with the same keys in another
        # order cannot wait for each other, and ids become visible in their order: who reads on
        # from the largest one that they saw (``pending``) misses nothing.
        session.connection().execute(select(func.pg_advisory_xact_lock(_WRITERS)))
    insert = sqlite.insert if sqlite_serves else postgresql.insert
    # The columns by name: one statement with several rows, whose RETURNING says which were new.
    stored = session.connection().execute(
        insert(FeedbackRow)
        .values(list(by_key.values()))
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(col(FeedbackRow.key))
    )
    new = len(stored.all())
    return Accepted(new, len(events) - new)


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


def count_since(session: Session, dataset: str, moment: datetime) -> int:
    """How many events of a dataset have been received since then."""
    return session.exec(
        select(func.count())
        .select_from(FeedbackRow)
        .where(FeedbackRow.dataset == dataset, col(FeedbackRow.received_at) >= moment)
    ).one()


def recent(session: Session, dataset: str, limit: int) -> list[FeedbackRow]:
    """The newest events on a dataset, the oldest of them first."""
    newest = session.exec(
        select(FeedbackRow)
        .where(FeedbackRow.dataset == dataset)
        .order_by(col(FeedbackRow.id).desc())
        .limit(limit)
    )
    return list(reversed(newest.all()))
