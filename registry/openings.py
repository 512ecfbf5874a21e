"""Openings of the sealed test split: once for a composition on given data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, select

from agenticrs.registry import audit
from agenticrs.registry.tables import OpeningRow


def find(
    session: Session, *, surface: str, composition: int, fingerprint: str, split: str
) -> dict[str, Any] | None:
    """The test metrics when the split was opened already, else None."""
    row = session.exec(
        select(OpeningRow).where(
            OpeningRow.surface == surface,
            OpeningRow.composition == composition,
            OpeningRow.fingerprint == fingerprint,
            OpeningRow.split == split,
        )
    ).first()
    return dict(row.metrics) if row else None


def record(
    session: Session,
    *,
    surface: str,
    composition: int,
    fingerprint: str,
    split: str,
    metrics: Mapping[str, float],
) -> None:
    """Keep what was seen; audited, because whoever tunes after this has seen the test."""
    session.add(
        OpeningRow(
            surface=surface,
            composition=composition,
            fingerprint=fingerprint,
            split=split,
            metrics=dict(metrics),
        )
    )
    audit.record(
        session,
        who="evolution",
        action="open test split",
        subject=f"{surface} composition {composition}",
        after={"split": split, "fingerprint": fingerprint},
    )
