"""A composition: the typed graph of agent versions that answers requests on a surface.

``validate`` refuses a graph by name of the node and the rule; nothing invalid is ever stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from pydantic import BaseModel, ConfigDict, Field

from agenticrs.platform.errors import InvalidComposition
from agenticrs.registry.spec import AgentSpec, Port

SOURCE = "users"
"""The name of the graph's only source: the batch of users of a request."""


class Condition(BaseModel):
    """Run a node only for the users that router ``node`` put into one of ``segments``.

    For the others a node that reads candidates hands on what came in, and a retriever nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    node: str
    segments: tuple[str, ...] = Field(min_length=1)


class Node(BaseModel):
    """One agent version at work. ``inputs`` are ids of nodes, or ``users``.

    ``keep`` is how many candidates it hands on at most; None = as many as the runtime lets through.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    agent: str
    version: int = Field(ge=1)
    inputs: tuple[str, ...] = (SOURCE,)
    when: Condition | None = None
    # Not told where it is not set: graphs keep the digests that they had before there was a keep.
    keep: int | None = Field(default=None, ge=1, exclude_if=lambda keep: keep is None)


class Graph(BaseModel):
    """Nodes and the id of the one whose candidates are shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    nodes: tuple[Node, ...]
    output: str

    def node(self, node_id: str) -> Node:
        """The node with that id; KeyError when there is none."""
        return {node.id: node for node in self.nodes}[node_id]

    def agents(self) -> dict[str, int]:
        """Agent -> version of all members."""
        return {node.agent: node.version for node in self.nodes}

    def order(self) -> tuple[Node, ...]:
        """The nodes so that each stands after what it reads (the graph must be valid)."""
        wanted = TopologicalSorter(
            {node.id: _reads(node) - {SOURCE} for node in self.nodes}
        ).static_order()
        return tuple(self.node(node_id) for node_id in wanted)

    def with_version(self, agent: str, version: int) -> Graph:
        """A copy in which every node of ``agent`` stands at ``version``."""
        nodes = tuple(
            node.model_copy(update={"version": version}) if node.agent == agent else node
            for node in self.nodes
        )
        return self.model_copy(update={"nodes": nodes})

    def digest(self) -> str:
        """Hash of the canonical form: what an approval is bound to."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def validate(graph: Graph, specs: Mapping[str, AgentSpec]) -> None:
    """Refuse what could not run; ``specs`` are the admitted agents by name.

    Raises InvalidComposition for: no nodes, an id used twice, an unknown agent, an agent at two
    versions, a part of another agent, an edge from nowhere, a loop, a wrong number or type of
    inputs, a condition on what is no router or names no segment of it, a router or output that says
    how many candidates it keeps, an output that is missing or no list of candidates or has nothing
    for some users, a node from which no path leads to the output.
    """
    if not graph.nodes:
        raise InvalidComposition("the composition has no nodes", hint="add at least one retriever")
    by_id: dict[str, Node] = {}
    versions: dict[str, int] = {}
    for node in graph.nodes:
        if node.id in by_id or node.id == SOURCE:
            raise InvalidComposition(f"node id {node.id!r} is used twice", hint="rename one")
        by_id[node.id] = node
        if node.agent not in specs:
            raise InvalidComposition(
                f"node {node.id!r}: unknown agent {node.agent!r}",
                hint="admit it first, or choose one of " + ", ".join(sorted(specs)),
            )
        if whole := specs[node.agent].part_of:
            raise InvalidComposition(
                f"node {node.id!r}: agent {node.agent!r} is a part of {whole!r}",
                hint=f"let {whole!r} stand there",
            )
        if versions.setdefault(node.agent, node.version) != node.version:
            raise InvalidComposition(
                f"agent {node.agent!r} stands at two versions: "
                f"{versions[node.agent]} and {node.version}",
                hint="one version of an agent per composition",
            )
    for node in graph.nodes:
        for source in sorted(_reads(node) - {SOURCE}):
            if source not in by_id:
                raise InvalidComposition(f"node {node.id!r} reads {source!r}, which does not exist")
    _refuse_loops(by_id)
    for node in graph.nodes:
        _check_types(node, by_id, specs)
        _check_condition(node, by_id, specs)
        if node.keep is not None and specs[node.agent].loop.output is not Port.CANDIDATES:
            raise InvalidComposition(
                f"node {node.id!r}: agent {node.agent!r} puts out no candidates, "
                f"so it cannot keep {node.keep} of them"
            )
    _check_output(graph, by_id, specs)


def _reads(node: Node) -> set[str]:
    return set(node.inputs) | ({node.when.node} if node.when else set())


def _refuse_loops(by_id: Mapping[str, Node]) -> None:
    try:
        TopologicalSorter({i: _reads(n) - {SOURCE} for i, n in by_id.items()}).prepare()
    except CycleError as error:
        raise InvalidComposition("loop: " + " -> ".join(reversed(error.args[1]))) from error


def _check_types(node: Node, by_id: Mapping[str, Node], specs: Mapping[str, AgentSpec]) -> None:
    loop = specs[node.agent].loop
    count, wanted = len(node.inputs), len(loop.inputs)
    if count < wanted or (count > wanted and not loop.variadic):
        raise InvalidComposition(
            f"node {node.id!r}: agent {node.agent!r} takes "
            f"{'at least ' if loop.variadic else ''}{wanted} inputs, got {count}"
        )
    for place, source in enumerate(node.inputs):
        expected = loop.inputs[min(place, wanted - 1)]
        actual = Port.USERS if source == SOURCE else specs[by_id[source].agent].loop.output
        if actual is not expected:
            raise InvalidComposition(
                f"edge {source!r} -> {node.id!r}: carries {actual}, but input {place + 1} of "
                f"agent {node.agent!r} takes {expected}"
            )


def _check_condition(node: Node, by_id: Mapping[str, Node], specs: Mapping[str, AgentSpec]) -> None:
    if node.when is None:
        return
    if node.when.node == SOURCE:
        raise InvalidComposition(f"node {node.id!r}: its condition must name a router")
    router = specs[by_id[node.when.node].agent]
    for segment in node.when.segments:
        if segment not in router.segments:
            raise InvalidComposition(
                f"node {node.id!r}: {node.when.node!r} has no segment {segment!r}",
                hint="segments: " + (", ".join(router.segments) or "none, it is no router"),
            )


def _check_output(graph: Graph, by_id: Mapping[str, Node], specs: Mapping[str, AgentSpec]) -> None:
    if graph.output not in by_id:
        raise InvalidComposition(f"output {graph.output!r} is no node of the composition")
    output = by_id[graph.output]
    loop = specs[output.agent].loop
    if loop.output is not Port.CANDIDATES:
        raise InvalidComposition(f"output {graph.output!r} must be a node that puts out candidates")
    if output.when is not None and Port.CANDIDATES not in loop.inputs:
        raise InvalidComposition(
            f"output {graph.output!r} has a condition, and nothing for the users outside it",
            hint="only a node that reads candidates can hand them through",
        )
    if output.keep is not None:
        raise InvalidComposition(
            f"output {graph.output!r} cannot keep {output.keep}: it hands nothing on",
            hint="a request says how many items are shown",
        )
    reached: set[str] = set()
    waiting = [graph.output]
    while waiting:
        node_id = waiting.pop()
        if node_id not in reached:
            reached.add(node_id)
            waiting += sorted(_reads(by_id[node_id]) - {SOURCE})
    for node_id in by_id:
        if node_id not in reached:
            raise InvalidComposition(f"node {node_id!r} has no path to output {graph.output!r}")
