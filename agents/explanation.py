"""Why a user is shown an item: what each agent of the composition made of it.

Read off the answers that the runtime kept, after the fact: nothing is asked again, so what is told
is what decided. A node stands there only where its agent itself answered this user; whose stand-in
acted is told by the trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates
from agenticrs.agents.fusion.common import WeightedFusion
from agenticrs.agents.runtime import Runtime, Slate
from agenticrs.registry.graph import Node

Filled = Literal["cut off", "popular"]
_MOVERS = frozenset({"coarse_ranking", "ranking", "reranking"})


@dataclass(frozen=True)
class Source:
    """An input's view of the item.

    ``vote`` is its weight times what the fusion made of rank or score; both are None where the
    reader is no fusion by weights.
    """

    node: str
    agent: str
    rank: int
    score: float
    weight: float | None = None
    vote: float | None = None


@dataclass(frozen=True)
class Contribution:
    """What one node made of the item: its rank (from 1) and score in the list it handed on.

    ``moved`` is by how many places a ranker or re-ranker has raised it, negative for lowered.
    """

    node: str
    agent: str
    version: int
    role: str
    rank: int
    score: float
    moved: int | None
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class ItemReasons:
    """How an item got to its place. ``filled``: no agent's last word put it there."""

    item: int
    filled: Filled | None
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True)
class RouteTaken:
    """The segment into which a router put the user."""

    node: str
    agent: str
    version: int
    segment: str


@dataclass(frozen=True)
class Explanation:
    """The user's way through the composition, and the reasons for each item shown."""

    routes: tuple[RouteTaken, ...]
    items: tuple[ItemReasons, ...]


def explain(runtime: Runtime, slate: Slate, row: int) -> Explanation:
    """Of the user at ``row``; the slate must have kept ``runtime.listing``."""
    answered = {node.node for node in slate.trace if node.by_user[row] == "ok"}
    lists = {node: _List(kept, row) for node, kept in slate.kept.items()}
    nodes = [node for node in runtime.graph.order() if node.id in answered]
    readers = [_Reader(runtime, node, lists) for node in nodes if node.id in lists]
    shown: Sequence[int] = slate.candidates.items[row].tolist()
    return Explanation(
        routes=tuple(
            _taken(runtime, node, slate.routes[node.id][row])
            for node in nodes
            if node.id in slate.routes
        ),
        items=tuple(
            ItemReasons(
                item,
                _filled(item, lists, runtime.graph.output),
                tuple(told for reader in readers if (told := reader.of(item)) is not None),
            )
            for item in shown
            if item >= 0
        ),
    )


class _List:
    """One user's list of one node, to be looked up by item."""

    def __init__(self, kept: Candidates, row: int) -> None:
        self.candidates = Candidates(kept.items[row : row + 1], kept.scores[row : row + 1])
        self.scores: Sequence[float] = kept.scores[row].tolist()
        items: Sequence[int] = kept.items[row].tolist()
        self.rank = {item: place for place, item in enumerate(items, 1) if item >= 0}


class _Reader:
    """Tells what one node made of any item."""

    def __init__(self, runtime: Runtime, node: Node, lists: Mapping[str, _List]) -> None:
        self._node, self._member = node, runtime.members[node.id]
        self._list = lists[node.id]
        self._sources = {source: lists[source] for source in node.inputs if source in lists}
        self._agents = {source: runtime.graph.node(source).agent for source in self._sources}
        self._votes = {
            source: _votes(self._member.agent, self._agents[source], found)
            for source, found in self._sources.items()
        }

    def of(self, item: int) -> Contribution | None:
        """None where the node does not hand it on."""
        rank = self._list.rank.get(item)
        if rank is None:
            return None
        sources = tuple(
            self._source(source, found.rank[item])
            for source, found in self._sources.items()
            if item in found.rank
        )
        role = self._member.spec.role
        moves = role in _MOVERS and len(self._sources) == 1 and bool(sources)
        return Contribution(
            node=self._node.id,
            agent=self._node.agent,
            version=self._node.version,
            role=role,
            rank=rank,
            score=self._list.scores[rank - 1],
            moved=sources[0].rank - rank if moves else None,
            sources=sources,
        )

    def _source(self, source: str, rank: int) -> Source:
        score, votes = self._sources[source].scores[rank - 1], self._votes[source]
        if votes is None:
            return Source(source, self._agents[source], rank, score)
        weight, each = votes
        vote = weight * each[rank - 1] if rank <= len(each) else 0.0
        return Source(source, self._agents[source], rank, score, weight, vote)


def _votes(fusion: Agent[Any], source: str, found: _List) -> tuple[float, Sequence[float]] | None:
    """The weight of a source, and the votes of its items in order; None if there are none."""
    if not isinstance(fusion, WeightedFusion):
        return None
    weight = fusion.config.weights.get(source, 1.0)
    with torch.inference_mode():
        votes: Sequence[float] = fusion.votes(found.candidates.top(fusion.config.depth))[0].tolist()
    return weight, votes


def _filled(item: int, lists: Mapping[str, _List], output: str) -> Filled | None:
    if item in lists[output].rank:
        return None
    return "cut off" if any(item in found.rank for found in lists.values()) else "popular"


def _taken(runtime: Runtime, node: Node, segment: Tensor) -> RouteTaken:
    name = runtime.members[node.id].spec.segments[int(segment)]
    return RouteTaken(node.id, node.agent, node.version, name)
