"""A composition in memory that answers requests, and what an answer is."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.runtime import Runtime
from agenticrs.registry.tables import CompositionRow
from agenticrs.ui.live_histories import Histories, LiveHistories


@dataclass(frozen=True)
class ShownItem:
    """One place of a slate."""

    id: str
    title: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Step:
    """What one node did for a request (``agents.runtime.NodeTrace``)."""

    node: str
    agent: str
    status: str
    milliseconds: float
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """A slate, the composition that made it, and how. ``known`` is False for a cold user.

    ``arm`` is ``candidate`` or ``champion`` for the users of a canary.
    """

    composition: int
    items: tuple[ShownItem, ...]
    trace: tuple[Step, ...]
    known: bool
    arm: Literal["candidate", "champion"] | None = None


class LoadedModel:
    """A composition in memory, on one snapshot of its dataset. Never changes."""

    def __init__(self, row: CompositionRow, histories: Histories, runtime: Runtime) -> None:
        self.composition = row.number
        self.histories = histories
        self.dataset = histories.dataset
        self._runtime = runtime
        # Requests under way hold this object: the threads end after the last of them.
        weakref.finalize(self, runtime.close)

    def slates(self, users: UserBatch, k: int) -> Tensor:
        """The k best items for each of a batch of users, (B, k), as simulations ask for them."""
        return self._runtime.recommend(users, k).candidates.items

    def recommend(
        self, user_id: str | None, k: int, live: LiveHistories, told: Sequence[str]
    ) -> Answer:
        """The k best items for one user."""
        users = self.histories.batch(user_id, live, told)
        slate = self._runtime.recommend(users, k)
        items = slate.candidates.items[0].tolist()
        scores = slate.candidates.scores[0].tolist()
        return Answer(
            composition=self.composition,
            items=tuple(
                ShownItem(str(self.dataset.item_ids[i]), str(self.dataset.item_titles[i]), score)
                for i, score in zip(items, scores, strict=True)
                if i >= 0
            ),
            trace=tuple(
                Step(t.node, t.agent, t.status, round(t.milliseconds, 3), t.error)
                for t in slate.trace
            ),
            known=self.histories.user_at(user_id) >= 0,
        )
