"""Aliases that a person deletes in MLflow: what stood there before serves again.

Gone for a moment an alias says nothing: whoever moves it may delete it first and set it then. And
one that went with its version says nothing about what should serve. So it must have been gone for
a while, with its version still there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Engine
from sqlmodel import Session

from agenticrs.platform.database import session_scope
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import audit, compositions, intentions, versions
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import CompositionRow

MEANT_SECONDS = 60.0
"""For so long an alias must have been gone: until then a person may be half done with a move."""


class Missing:
    """Which aliases are gone and since when, as one process sees it; ``clock`` only grows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._settled: set[str] = set()

    def meant(self, gone: Collection[str]) -> list[str]:
        """Of the models whose alias is gone now, those where that is meant, and not settled."""
        now = self._clock()
        self._since = {model: self._since.get(model, now) for model in gone}
        self._settled &= self._since.keys()
        return [
            model
            for model, since in self._since.items()
            if now - since >= MEANT_SECONDS and model not in self._settled
        ]

    def settle(self, models: Collection[str]) -> None:
        """Nothing follows from these, until their aliases have been seen again."""
        self._settled |= set(models)


def before(
    engine: Engine, tracking: Tracking, row: CompositionRow, models: Sequence[str]
) -> dict[str, int]:
    """Model -> the version that stood there before, where the present one is in MLflow still.

    A version that was deleted is audited. Raises TrackingError when MLflow cannot be reached.
    """
    ours, there = _pinned(row), tracking.versions(f"{row.surface}.")
    found: dict[str, int] = {}
    with session_scope(engine) as session:
        for model in models:
            earlier = _stood_before(session, row, model)
            if ours[model] not in there.get(model, {}):
                _audit_loss(session, row.surface, model, ours[model])
            elif earlier is not None:
                found[model] = earlier
    return found


def _stood_before(session: Session, row: CompositionRow, model: str) -> int | None:
    """The version of a model that served last before the present one; None: there was no other."""
    now = _pinned(row)[model]
    for done in intentions.history(session, row.surface, limit=1000):
        served = compositions.find(session, row.surface, done.after)
        number = _pinned(served).get(model) if served else None
        if number is not None and number != now:
            return number
    return None


def _pinned(row: CompositionRow) -> dict[str, int]:
    """Model -> version, of the composition itself and of its members."""
    members = Graph.model_validate(row.graph).agents().items()
    return {row.model: row.number} | {
        versions.model_name(row.surface, agent): number for agent, number in members
    }


def _audit_loss(session: Session, surface: str, model: str, number: int) -> None:
    audit.record(
        session,
        who="mlflow",
        action="divergence",
        subject=f"{surface} {model}",
        reason=f"version {number} of {model} was deleted in MLflow; it keeps serving",
        before={"serves": number},
        after={"champion": None, "version": "deleted"},
    )
