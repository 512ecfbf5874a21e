"""Answers a request: runs the agents of a composition in order, and survives each of them failing.

Every agent has a time budget and a stand-in for when it fails or is late:

=================== ===================================================================
retriever           nothing; the others' candidates remain
ranker, reranker    its first list of candidates, as it came
fusion              for each user the first input that has anything
router              its last segment, the common path, for everybody
the whole           what nodes have cut off, then popular items that the user has not
                    had, fill what is missing
=================== ===================================================================

A conditional node runs for the users that its router sent there. The others get what would stand in
for it: its first list of candidates as it came, so that they skip it, and from a retriever nothing.
Each node hands on as many candidates as its ``keep`` says, also for those who skip it: so a cascade
asks a costly agent for few. What is shown never repeats, never holds an item of the user's history,
and never one from outside the catalogue, whatever the agents did. A runtime never changes: what
serves is swapped by replacing the whole object.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.timed_calls import TimedCalls
from agenticrs.platform.errors import AgentError
from agenticrs.registry.graph import SOURCE, Graph, Node
from agenticrs.registry.spec import AgentSpec, Port

Status = Literal["ok", "failed", "timeout", "skipped"]
_FILL_ROWS = 256


@dataclass(frozen=True)
class NodeTrace:
    """How one node did in one request; skipped = no user of the request took its path."""

    node: str
    agent: str
    status: Status
    milliseconds: float
    users: int
    error: str = ""


@dataclass(frozen=True)
class Slate:
    """What is shown, (B, k), how it came about, and the candidates of nodes asked for."""

    candidates: Candidates
    trace: tuple[NodeTrace, ...]
    kept: Mapping[str, Candidates]


@dataclass(frozen=True)
class _Step:
    node: Node
    agent: Agent[Any]
    spec: AgentSpec
    sources: tuple[str, ...]
    """Nodes whose candidates are handed over, in order."""
    codes: tuple[int, ...]
    """Segments of the router in its condition, as the router puts them out."""


@dataclass
class _Request:
    """One pass over the graph: what was asked, and the answers of the nodes so far."""

    users: UserBatch
    k: int
    strict: bool
    lists: dict[str, Candidates] = field(default_factory=dict)
    routes: dict[str, Tensor] = field(default_factory=dict)
    uncut: list[Candidates] = field(default_factory=list)
    """Answers of which a part was handed on, in the order of the nodes."""


class Runtime:
    """Serves one composition.

    ``agents`` are fitted agents by node id; ``popularity`` is (n_items,), larger = more popular,
    and its length is the size of the catalogue. ``histories`` (all users, row u = user u) are only
    looked up by ``users_at``; a request may bring newer ones. ``agent_timeout`` is in seconds,
    None = no limit and no threads. ``depth`` is how many candidates a node hands on that has no
    ``keep``. Safe to call from several threads. Raises AgentError when a node has no agent.
    """

    def __init__(
        self,
        graph: Graph,
        agents: Mapping[str, Agent[Any]],
        specs: Mapping[str, AgentSpec],
        histories: UserBatch,
        popularity: Tensor,
        *,
        agent_timeout: float | None = 0.5,
        depth: int = 100,
    ) -> None:
        self.graph = graph
        self.n_items = len(popularity)
        self._depth = depth
        self._timeout = agent_timeout
        self._histories = histories
        self._popular = popularity.argsort(descending=True, stable=True)
        self._calls = TimedCalls()
        self._steps = tuple(_step(node, graph, agents, specs) for node in graph.order())

    def users_at(self, users: Tensor) -> UserBatch:
        """The users with these indices ((B,) int64) and the histories given at construction."""
        return self._histories.take(users)

    def recommend(self, users: UserBatch, k: int) -> Slate:
        """The k items to show each user; always full unless the catalogue is used up."""
        with torch.inference_mode():
            return self._answer(users, k, strict=False, keep=())

    def run_all(
        self, users: UserBatch, k: int, keep: Collection[str] = (), chunk: int = 1024
    ) -> Slate:
        """Offline: all users in chunks, without time limits, and with the candidates of ``keep``.

        A node that fails raises AgentError: a composition is not measured with its stand-ins.
        Milliseconds in the trace are sums.
        """
        slates = []
        with torch.inference_mode():
            for start in range(0, len(users), chunk):
                stop = min(start + chunk, len(users))
                rows = torch.arange(start, stop, device=users.users.device)
                slates.append(self._answer(users.take(rows), k, strict=True, keep=keep))
        if not slates:
            raise AgentError("there are no users to run the composition for")
        return Slate(
            _stacked([slate.candidates for slate in slates]),
            _summed([slate.trace for slate in slates]),
            {node: _stacked([slate.kept[node] for slate in slates]) for node in keep},
        )

    def close(self) -> None:
        """Let the threads end; requests under way finish."""
        self._calls.close()

    def _answer(self, users: UserBatch, k: int, *, strict: bool, keep: Collection[str]) -> Slate:
        request = _Request(users, k, strict)
        trace = tuple(self._run_node(step, request) for step in self._steps)
        final = self._filled(request.lists[self.graph.output], request)
        return Slate(final, trace, {node: request.lists[node] for node in keep})

    def _run_node(self, step: _Step, request: _Request) -> NodeTrace:
        """Put the node's answer for all users of the request among the request's answers."""
        begin = time.perf_counter()
        users = request.users
        rows = self._rows(step, request.routes)
        inputs = [request.lists[source] for source in step.sources]
        if rows is None:
            answer, status, error = self._answer_of(step, users, inputs, request)
        else:
            users = users.take(rows)
            theirs = [Candidates(source.items[rows], source.scores[rows]) for source in inputs]
            answer, status, error = self._answer_of(step, users, theirs, request)
            answer = _scattered(answer, rows, inputs, request.users)
        if isinstance(answer, Route):
            request.routes[step.node.id] = answer.segment
        else:
            if step.node.keep is not None:
                request.uncut.append(answer)
                answer = answer.top(step.node.keep)
            request.lists[step.node.id] = answer
        spent = (time.perf_counter() - begin) * 1000
        return NodeTrace(step.node.id, step.node.agent, status, spent, len(users), error)

    def _answer_of(
        self, step: _Step, users: UserBatch, inputs: Sequence[Candidates], request: _Request
    ) -> tuple[Candidates | Route, Status, str]:
        """The answer, or a stand-in with the reason."""
        if not len(users):
            return _stand_in(step.spec, inputs, users), "skipped", ""
        output = step.node.id == self.graph.output
        k = request.k if output else max(request.k, step.node.keep or self._depth)
        try:
            return self._called(step, users, inputs, k, threads=not request.strict), "ok", ""
        except Exception as raised:  # an agent's failure is a result: a stand-in acts
            if request.strict:
                raise AgentError(f"node {step.node.id!r}: {_text(raised)}") from raised
            status: Status = "timeout" if isinstance(raised, TimeoutError) else "failed"
            return _stand_in(step.spec, inputs, users), status, _text(raised)

    def _rows(self, step: _Step, routes: Mapping[str, Tensor]) -> Tensor | None:
        """Rows of the users that the node is for; None = all."""
        when = step.node.when
        if when is None:
            return None
        routed = routes[when.node]
        chosen = torch.isin(routed, routed.new_tensor(step.codes))
        return None if bool(chosen.all()) else chosen.nonzero()[:, 0]

    def _called(
        self, step: _Step, users: UserBatch, inputs: Sequence[Candidates], k: int, *, threads: bool
    ) -> Candidates | Route:
        def call() -> Candidates | Route:
            return step.agent.act(users, inputs, k)

        if threads and self._timeout is not None:
            answer = self._calls.call(step.node.id, call, self._timeout)
        else:
            answer = call()
        if step.spec.loop.output is Port.ROUTE:
            return _checked_route(answer, len(users), len(step.spec.segments))
        return lists.check(answer, len(users), self.n_items).top(max(k, self._depth))

    def _filled(self, candidates: Candidates, request: _Request) -> Candidates:
        """Exactly k columns: what may not be shown goes, and what stands in comes last."""
        users, k = request.users, request.k
        candidates = lists.widen(candidates, max(k, candidates.items.shape[1]))
        keep = lists.allowed(candidates.items, users, self.n_items)
        candidates = lists.widen(lists.compact(candidates, keep), k)
        short = (candidates.items < 0).any(1).nonzero()[:, 0]
        if not len(short):
            return candidates
        items, scores = candidates.items.clone(), candidates.scores.clone()
        for start in range(0, len(short), _FILL_ROWS):
            rows = short[start : start + _FILL_ROWS]
            # What the last stages have cut off was liked best.
            spare = [answer.items[rows] for answer in reversed(request.uncut)]
            found = Candidates(items[rows], scores[rows])
            full = self._with_more(found, spare, users.take(rows), k)
            items[rows], scores[rows] = full.items, full.scores
        return Candidates(items, scores)

    def _with_more(
        self, candidates: Candidates, spare: Sequence[Tensor], users: UserBatch, k: int
    ) -> Candidates:
        # Of this many popular items at least k are neither seen nor in the lists already.
        enough = int(users.lengths.max()) + 2 * k
        popular = self._popular[:enough].repeat(len(users), 1)
        more = torch.cat([*spare, popular], 1)
        found = torch.where(candidates.items >= 0, candidates.scores, torch.inf)
        lowest = found.amin(1, keepdim=True).nan_to_num(posinf=0.0)
        step = torch.arange(1, more.shape[1] + 1, device=more.device)
        joined = Candidates(
            torch.cat([candidates.items, more], 1),
            # Below everything that an agent meant, falling, so that lists stay in order.
            torch.cat([candidates.scores, lowest - step], 1),
        )
        keep = lists.allowed(joined.items, users, self.n_items)
        return lists.widen(lists.compact(joined, keep), k)


def _step(
    node: Node, graph: Graph, agents: Mapping[str, Agent[Any]], specs: Mapping[str, AgentSpec]
) -> _Step:
    if node.id not in agents:
        raise AgentError(f"node {node.id!r} has no agent", hint=f"give one for {node.agent!r}")
    sources = tuple(source for source in node.inputs if source != SOURCE)
    agent = agents[node.id]
    agent.input_names([graph.node(source).agent for source in sources])
    codes: tuple[int, ...] = ()
    if node.when is not None:
        segments = specs[graph.node(node.when.node).agent].segments
        codes = tuple(segments.index(segment) for segment in node.when.segments)
    return _Step(node, agent, specs[node.agent], sources, codes)


def _stand_in(
    spec: AgentSpec, inputs: Sequence[Candidates], users: UserBatch
) -> Candidates | Route:
    if spec.loop.output is Port.ROUTE:
        last = len(spec.segments) - 1
        device = users.users.device
        return Route(torch.full((len(users),), last, dtype=torch.int64, device=device))
    return _as_they_came(inputs, users)


def _as_they_came(inputs: Sequence[Candidates], users: UserBatch) -> Candidates:
    """For each user the first input that has anything; nothing where there are no inputs."""
    if not inputs:
        return Candidates.empty(len(users), 1, users.users.device)
    width = max(source.items.shape[1] for source in inputs)
    first = lists.widen(inputs[0], width)
    items, scores = first.items, first.scores
    for source in inputs[1:]:
        wide = lists.widen(source, width)
        nothing = (items < 0).all(1, keepdim=True)
        items = torch.where(nothing, wide.items, items)
        scores = torch.where(nothing, wide.scores, scores)
    return Candidates(items, scores)


def _scattered(
    answer: Candidates | Route, rows: Tensor, inputs: Sequence[Candidates], users: UserBatch
) -> Candidates | Route:
    """The answer for some users as one for all: the others skip the node, and have no segment."""
    if isinstance(answer, Route):
        segment = torch.full((len(users),), -1, dtype=torch.int64, device=rows.device)
        segment[rows] = answer.segment
        return Route(segment)
    others = _as_they_came(inputs, users)
    width = max(answer.items.shape[1], others.items.shape[1])
    others, answer = lists.widen(others, width), lists.widen(answer, width)
    # Never in place: the inputs are other nodes' answers.
    items, scores = others.items.clone(), others.scores.clone()
    items[rows], scores[rows] = answer.items, answer.scores.to(scores.dtype)
    return Candidates(items, scores)


def _checked_route(answer: object, n_users: int, n_segments: int) -> Route:
    if not isinstance(answer, Route) or answer.segment.shape != (n_users,):
        raise AgentError("put out no route for these users")
    if bool(((answer.segment < 0) | (answer.segment >= n_segments)).any()):
        raise AgentError(f"put out a segment outside its {n_segments}")
    return answer


def _text(raised: BaseException) -> str:
    return str(raised) if isinstance(raised, AgentError) else f"{type(raised).__name__}: {raised}"


def _stacked(parts: Sequence[Candidates]) -> Candidates:
    width = max(part.items.shape[1] for part in parts)
    wide = [lists.widen(part, width) for part in parts]
    return Candidates(torch.cat([p.items for p in wide]), torch.cat([p.scores for p in wide]))


def _summed(traces: Sequence[tuple[NodeTrace, ...]]) -> tuple[NodeTrace, ...]:
    return tuple(
        NodeTrace(
            node=entries[0].node,
            agent=entries[0].agent,
            status="ok" if any(e.status == "ok" for e in entries) else "skipped",
            milliseconds=sum(e.milliseconds for e in entries),
            users=sum(e.users for e in entries),
        )
        for entries in zip(*traces, strict=True)
    )
