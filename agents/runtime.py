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
and never one from outside the catalogue, whatever the agents did. People's requests share a call:
where an agent raises for one of them the others keep its answer (``isolation``), and an agent that
keeps failing rests for a while (``circuit``). A runtime never changes: what serves is swapped by
replacing the whole object.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.circuit import Circuit, CircuitRules, CircuitView
from agenticrs.agents.filling import Filling
from agenticrs.agents.guarded_agent import GuardedAgent, Outcome, Status, text_of
from agenticrs.agents.stand_in import rows_of, scattered
from agenticrs.agents.timed_calls import TimedCalls
from agenticrs.platform.errors import AgentError
from agenticrs.registry.graph import SOURCE, Graph, Node
from agenticrs.registry.spec import AgentSpec, Port

_WORST_FIRST: tuple[Status, ...] = ("failed", "timeout", "resting", "ok")


@dataclass(frozen=True)
class NodeTrace:
    """How one node did in one call of the runtime.

    skipped = no user took its path; resting = it was not asked, after failures. Where it failed for
    some of the users alone, ``status`` is failed and ``by_user`` tells them apart (in the order of
    the batch; empty offline). ``began`` is when, in nanoseconds of Unix time.
    """

    node: str
    agent: str
    status: Status
    milliseconds: float
    users: int
    error: str = ""
    by_user: tuple[Status, ...] = ()
    began: int = 0


@dataclass(frozen=True)
class Slate:
    """What is shown, (B, k), how it came about, and the answers of nodes asked for."""

    candidates: Candidates
    trace: tuple[NodeTrace, ...]
    kept: Mapping[str, Candidates]
    routes: Mapping[str, Tensor] = field(default_factory=dict)
    """Segments (B,) that the routers put out, -1 for users who did not come to one."""


@dataclass(frozen=True)
class _Step:
    node: Node
    guarded: GuardedAgent
    sources: tuple[str, ...]
    """Nodes whose candidates are handed over, in order."""
    codes: tuple[int, ...]
    """Segments of the router in its condition, as the router puts them out."""

    @property
    def agent(self) -> Agent[Any]:
        """Who acts there."""
        return self.guarded.agent


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
    None = no limit and no threads; ``agent_timeouts`` are those of single agents, by name.
    ``depth`` is how many candidates a node hands on that has no ``keep``. Without ``circuits`` a
    node is asked however often it has failed. Safe to call from several threads. Raises AgentError
    when a node has no agent.
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
        agent_timeouts: Mapping[str, float] | None = None,
        depth: int = 100,
        circuits: CircuitRules | None = None,
    ) -> None:
        self.graph = graph
        self.n_items = len(popularity)
        self._depth = depth
        self._timeout = agent_timeout
        self._timeouts = agent_timeouts or {}
        self._histories = histories
        self._filling = Filling(popularity)
        self._calls = TimedCalls()
        self._circuits = circuits
        self._steps = tuple(self._step(node, agents, specs) for node in graph.order())
        self.members = {step.node.id: step.guarded for step in self._steps}

    @property
    def listing(self) -> tuple[str, ...]:
        """The nodes that put out candidates."""
        steps = self._steps
        return tuple(s.node.id for s in steps if s.guarded.spec.loop.output is Port.CANDIDATES)

    def circuits(self) -> tuple[CircuitView, ...]:
        """How the nodes' circuits stand; empty without them."""
        return tuple(
            CircuitView(step.node.id, step.node.agent, circuit.state, circuit.error)
            for step in self._steps
            if (circuit := step.guarded.circuit) is not None
        )

    def users_at(self, users: Tensor) -> UserBatch:
        """The users with these indices ((B,) int64) and the histories given at construction."""
        return self._histories.take(users)

    def recommend(self, users: UserBatch, k: int, keep: Collection[str] = ()) -> Slate:
        """The k items to show each user; always full unless the catalogue is used up.

        ``keep`` are nodes whose candidates are put out too: as they were handed on.
        """
        with torch.inference_mode():
            return self._answer(users, k, strict=False, keep=keep)

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

    def _step(
        self, node: Node, agents: Mapping[str, Agent[Any]], specs: Mapping[str, AgentSpec]
    ) -> _Step:
        if node.id not in agents:
            raise AgentError(f"node {node.id!r} has no agent", hint=f"give one for {node.agent!r}")
        agent, sources = agents[node.id], _sources(node)
        agent.input_names([self.graph.node(source).agent for source in sources])
        guarded = GuardedAgent(
            name=node.id,
            agent=agent,
            spec=specs[node.agent],
            n_items=self.n_items,
            depth=self._depth,
            calls=self._calls,
            timeout=self._timeouts.get(node.agent, self._timeout),
            circuit=None if self._circuits is None else Circuit(self._circuits),
        )
        return _Step(node, guarded, sources, _codes(node, self.graph, specs))

    def _answer(self, users: UserBatch, k: int, *, strict: bool, keep: Collection[str]) -> Slate:
        request = _Request(users, k, strict)
        trace = tuple(self._run_node(step, request) for step in self._steps)
        output = request.lists[self.graph.output]
        return Slate(
            self._filling.full(output, users, k, request.uncut),
            trace,
            {node: request.lists[node] for node in keep},
            request.routes,
        )

    def _run_node(self, step: _Step, request: _Request) -> NodeTrace:
        """Put the node's answer for all users of the request among the request's answers."""
        began, begin = time.time_ns(), time.perf_counter()
        users, n = request.users, len(request.users)
        rows = self._rows(step, request.routes)
        inputs = [request.lists[source] for source in step.sources]
        if rows is None:
            found = self._asked(step, users, inputs, request)
            answer, statuses = found.answer, found.statuses
        else:
            users = users.take(rows)
            found = self._asked(step, users, rows_of(inputs, rows), request)
            answer = scattered(found.answer, rows, inputs, request.users)
            statuses = _spread(found.statuses, rows, n)
        if isinstance(answer, Route):
            request.routes[step.node.id] = answer.segment
        else:
            if step.node.keep is not None:
                request.uncut.append(answer)
                answer = answer.top(step.node.keep)
            request.lists[step.node.id] = answer
        return NodeTrace(
            node=step.node.id,
            agent=step.node.agent,
            status=_overall(statuses),
            milliseconds=(time.perf_counter() - begin) * 1000,
            users=len(users),
            error=found.error,
            by_user=() if request.strict else statuses,
            began=began,
        )

    def _asked(
        self, step: _Step, users: UserBatch, inputs: Sequence[Candidates], request: _Request
    ) -> Outcome:
        output = step.node.id == self.graph.output
        k = request.k if output else max(request.k, step.node.keep or self._depth)
        if not request.strict or not len(users):
            return step.guarded.answer(users, inputs, k)
        try:
            return Outcome.sound(step.guarded.strictly(users, inputs, k), len(users))
        except Exception as raised:
            raise AgentError(f"node {step.node.id!r}: {text_of(raised)}") from raised

    def _rows(self, step: _Step, routes: Mapping[str, Tensor]) -> Tensor | None:
        """Rows of the users that the node is for; None = all."""
        when = step.node.when
        if when is None:
            return None
        routed = routes[when.node]
        chosen = torch.isin(routed, routed.new_tensor(step.codes))
        return None if bool(chosen.all()) else chosen.nonzero()[:, 0]


def _sources(node: Node) -> tuple[str, ...]:
    return tuple(source for source in node.inputs if source != SOURCE)


def _codes(node: Node, graph: Graph, specs: Mapping[str, AgentSpec]) -> tuple[int, ...]:
    if node.when is None:
        return ()
    segments = specs[graph.node(node.when.node).agent].segments
    return tuple(segments.index(segment) for segment in node.when.segments)


def _spread(statuses: tuple[Status, ...], rows: Tensor, n: int) -> tuple[Status, ...]:
    """Statuses of the users at ``rows`` as those of all n: the others skip the node."""
    spread: list[Status] = ["skipped"] * n
    for row, status in zip(rows.tolist(), statuses, strict=True):
        spread[row] = status
    return tuple(spread)


def _overall(statuses: Collection[Status]) -> Status:
    found = frozenset(statuses)
    for status in _WORST_FIRST:
        if status in found:
            return status
    return "skipped"


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
