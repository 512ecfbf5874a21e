"""A composition in memory that answers requests, and what an answer is."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.circuit import CircuitView
from agenticrs.agents.explanation import Explanation, explain
from agenticrs.agents.guarded_agent import Status
from agenticrs.agents.runtime import NodeTrace, Runtime, Slate
from agenticrs.registry.tables import CompositionRow
from agenticrs.ui.live_histories import Histories, LiveHistories


@dataclass(frozen=True)
class Asked:
    """What one caller wants: the ``k`` best items for a user, who is known to have had ``told``.

    ``explain`` asks for the reasons too.
    """

    user_id: str | None
    k: int
    told: Sequence[str] = ()
    explain: bool = False


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
    version: int
    status: Status
    milliseconds: float
    error: str = ""
    began: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Batch:
    """How many requests were answered together, from when on (Unix nanoseconds), for how long."""

    requests: int
    began: int
    milliseconds: float


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
    batch: Batch
    arm: Literal["candidate", "champion"] | None = None
    explanation: Explanation | None = None
    """Its items are those of the slate, in order."""


class LoadedModel:
    """A composition in memory, on one snapshot of its dataset. Never changes."""

    def __init__(self, row: CompositionRow, histories: Histories, runtime: Runtime) -> None:
        self.composition = row.number
        self.histories = histories
        self.dataset = histories.dataset
        self._runtime = runtime
        self._versions = {node.id: node.version for node in runtime.graph.nodes}
        # Requests under way hold this object: the threads end after the last of them.
        weakref.finalize(self, runtime.close)

    def slates(self, users: UserBatch, k: int) -> Tensor:
        """The k best items for each of a batch of users, (B, k), as simulations ask for them."""
        return self._runtime.recommend(users, k).candidates.items

    def resting(self) -> tuple[CircuitView, ...]:
        """The agents that are not asked, after failures."""
        return tuple(view for view in self._runtime.circuits() if view.state != "closed")

    def recommend(self, asked: Sequence[Asked], live: LiveHistories) -> list[Answer]:
        """An answer for each. Those who want equally many items are answered together."""
        alike: dict[tuple[int, bool], list[int]] = {}
        for place, one in enumerate(asked):
            alike.setdefault((one.k, one.explain), []).append(place)
        answers: dict[int, Answer] = {}
        for (k, explained), places in alike.items():
            together = [asked[place] for place in places]
            began, begin = time.time_ns(), time.perf_counter()
            users = self.histories.batch_of([(one.user_id, one.told) for one in together], live)
            slate = self._runtime.recommend(users, k, self._runtime.listing if explained else ())
            batch = Batch(len(together), began, 1000 * (time.perf_counter() - begin))
            found = self._answers(slate, users.users, batch, explained=explained)
            answers.update(zip(places, found, strict=True))
        return [answers[place] for place in range(len(asked))]

    def _answers(
        self, slate: Slate, users: Tensor, batch: Batch, *, explained: bool
    ) -> Iterable[Answer]:
        items = slate.candidates.items
        # A place beyond the end of the catalogue is -1: its id is looked up in vain, and dropped.
        ids = self.dataset.item_ids[items.numpy()].tolist()
        titles = self.dataset.item_titles[items.numpy()].tolist()
        steps = _Steps(slate.trace, self._versions)
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
                batch=batch,
                explanation=explain(self._runtime, slate, row) if explained else None,
            )


class _Steps:
    """The steps of each user of a batch; users with the same fates share them."""

    def __init__(self, trace: Sequence[NodeTrace], versions: Mapping[str, int]) -> None:
        self._trace, self._versions = trace, versions
        self._fates = list(zip(*(node.by_user for node in trace), strict=True))
        self._known: dict[tuple[Status, ...], tuple[Step, ...]] = {}

    def of(self, row: int) -> tuple[Step, ...]:
        fate = self._fates[row]
        found = self._known.get(fate)
        if found is None:
            found = tuple(map(self._step, self._trace, fate))
            self._known[fate] = found
        return found

    def _step(self, node: NodeTrace, status: Status) -> Step:
        return Step(
            node=node.node,
            agent=node.agent,
            version=self._versions[node.node],
            status=status,
            milliseconds=round(node.milliseconds, 3),
            error=node.error if status not in ("ok", "skipped") else "",
            began=node.began,
        )
