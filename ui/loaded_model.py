"""A composition in memory that answers requests, and what an answer is."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.guarded_agent import Status
from agenticrs.agents.runtime import NodeTrace, Runtime, Slate
from agenticrs.registry.tables import CompositionRow
from agenticrs.ui.live_histories import Histories, LiveHistories


@dataclass(frozen=True)
class Asked:
    """What one caller wants: the ``k`` best items for a user, who is known to have had ``told``."""

    user_id: str | None
    k: int
    told: Sequence[str] = ()


class ShownItem(NamedTuple):
    """One place of a slate."""

    id: str
    title: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return self._asdict()


@dataclass(frozen=True)
class Step:
    """What one node did for a request (``agents.runtime.NodeTrace``)."""

    node: str
    agent: str
    status: Status
    milliseconds: float
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """A slate, the composition that made it, and how. ``known`` is False for a cold user.

    ``arm`` is ``candidate`` or ``champion`` for the users of a canary. Requests that were answered
    together share their steps.
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

    def recommend(self, asked: Sequence[Asked], live: LiveHistories) -> list[Answer]:
        """An answer for each. Those who want equally many items are answered together."""
        alike: dict[int, list[int]] = {}
        for place, one in enumerate(asked):
            alike.setdefault(one.k, []).append(place)
        answers: dict[int, Answer] = {}
        for k, places in alike.items():
            together = [asked[place] for place in places]
            users = self.histories.batch_of([(one.user_id, one.told) for one in together], live)
            slate = self._runtime.recommend(users, k)
            answers.update(zip(places, self._answers(slate, users.users), strict=True))
        return [answers[place] for place in range(len(asked))]

    def _answers(self, slate: Slate, users: Tensor) -> Iterable[Answer]:
        items = slate.candidates.items
        # A place beyond the end of the catalogue is -1: its id is looked up in vain, and dropped.
        ids = self.dataset.item_ids[items.numpy()].tolist()
        titles = self.dataset.item_titles[items.numpy()].tolist()
        steps = _Steps(slate.trace)
        columns = (items.tolist(), ids, titles, slate.candidates.scores.tolist(), users.tolist())
        for row, (indices, names, words, scores, user) in enumerate(zip(*columns, strict=True)):
            yield Answer(
                composition=self.composition,
                items=tuple(
                    ShownItem(name, title, score)
                    for index, name, title, score in zip(indices, names, words, scores, strict=True)
                    if index >= 0
                ),
                trace=steps.of(row),
                known=user >= 0,
            )


class _Steps:
    """The steps of each user of a batch; users with the same fates share them."""

    def __init__(self, trace: Sequence[NodeTrace]) -> None:
        self._trace = trace
        self._fates = list(zip(*(node.by_user for node in trace), strict=True))
        self._known: dict[tuple[Status, ...], tuple[Step, ...]] = {}

    def of(self, row: int) -> tuple[Step, ...]:
        fate = self._fates[row]
        found = self._known.get(fate)
        if found is None:
            found = tuple(map(_step, self._trace, fate))
            self._known[fate] = found
        return found


def _step(node: NodeTrace, status: Status) -> Step:
    error = node.error if status not in ("ok", "skipped") else ""
    return Step(node.node, node.agent, status, round(node.milliseconds, 3), error)
