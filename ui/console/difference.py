"""Two compositions beside each other: what differs, and what is known of the effect.

Everything about effects is optional: the evidence of a proposal, and the report cards of both. A
figure of two cards is compared only where both were measured on the same data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from sqlmodel import Session

from agenticrs.evolution.report_card import shelf
from agenticrs.evolution.report_card.card import Figure, ReportCard
from agenticrs.registry import agents, versions
from agenticrs.registry.graph import Graph, Node
from agenticrs.registry.tables import CompositionRow, ProposalRow
from agenticrs.ui.console import graph_svg
from agenticrs.ui.console.evidence_view import EvidenceView, evidence_view
from agenticrs.ui.console.graph_layout import edges_of, place
from agenticrs.ui.console.graph_svg import Mark

WEIGHTS = "weights"
"""Setting of a fusion that holds a weight for each of its inputs."""
_COMPARED = {
    "quality": "Task quality",
    "human": "People: rewards by group, exposure",
    "coordination": "What a request takes",
    "economy": "What it cost to make",
}
"""Dimensions of report cards that a person compares, and what they are called here."""
_WHOLE = ("quality", "coordination", "economy")
"""Those of which only the figures of the whole composition are compared."""


@dataclass(frozen=True)
class Changed:
    """One thing that a node has: its name, before and after ("" where there is none)."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class NodeChange:
    """A node that joins, leaves, or stands there changed."""

    node: Node
    mark: Mark
    changes: Sequence[Changed]


@dataclass(frozen=True)
class Weight:
    """What an input counts in a fusion, before and after; None where it does not stand there."""

    fusion: str
    source: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Pair:
    """A figure of both report cards, on the same data."""

    name: str
    of: str
    before: Figure
    after: Figure


@dataclass(frozen=True)
class Difference:
    """Everything that the pages show of two compositions; ``before`` None: nothing served."""

    before: CompositionRow | None
    after: CompositionRow
    picture_before: Markup
    picture_after: Markup
    nodes: Sequence[NodeChange]
    edges: Sequence[tuple[str, Mark]]
    routes: Sequence[Changed]
    weights: Sequence[Weight]
    metrics: Sequence[tuple[str, Any, Any]]
    measured: Mapping[str, Sequence[Pair]]
    evidence: EvidenceView | None


def difference_view(
    session: Session,
    home: Path,
    before: CompositionRow | None,
    after: CompositionRow,
    proposal: ProposalRow | None,
) -> Difference:
    """What differs between two compositions of one surface."""
    old = Graph.model_validate(before.graph) if before else None
    new = Graph.model_validate(after.graph)
    roles = agents.roles(session)
    marks: tuple[dict[str, Mark], dict[str, Mark]] = (
        graph_svg.changes(old, new) if old else ({}, {})
    )
    widths = [place(graph, "down").width for graph in (old, new) if graph]
    configs = _configs(session, after.surface, *(graph for graph in (old, new) if graph))
    return Difference(
        before=before,
        after=after,
        picture_before=_picture(before, old, "before", roles, marks[0], max(widths)),
        picture_after=_picture(after, new, "after", roles, marks[1], max(widths)),
        nodes=_nodes(old, new, marks, configs) if old else (),
        edges=_edges(old, new) if old else (),
        routes=_routes(old, new) if old else (),
        weights=_weights(old, new, configs),
        metrics=_metrics(before, after),
        measured=_measured(home, before, after) if before else {},
        evidence=evidence_view(proposal.evidence) if proposal else None,
    )


Configs = Mapping[tuple[str, int], Mapping[str, Any]]


def _configs(session: Session, surface: str, *graphs: Graph) -> Configs:
    pinned = {(node.agent, node.version) for graph in graphs for node in graph.nodes}
    found = {key: versions.find(session, surface, *key) for key in pinned}
    return {key: row.config if row else {} for key, row in found.items()}


def _picture(
    row: CompositionRow | None,
    graph: Graph | None,
    name: str,
    roles: Mapping[str, str],
    marks: Mapping[str, Mark],
    room: float,
) -> Markup:
    if row is None or graph is None:
        return Markup("")
    return graph_svg.draw(
        graph,
        name=name,
        title=f"Composition {row.number}, {name}",
        roles=roles,
        marks=marks,
        direction="down",
        room=room,
    )


def _nodes(
    old: Graph, new: Graph, marks: tuple[dict[str, Mark], dict[str, Mark]], configs: Configs
) -> list[NodeChange]:
    was, now = ({node.id: node for node in graph.nodes} for graph in (old, new))
    found = [NodeChange(was[i], mark, ()) for i, mark in marks[0].items() if mark == "removed"]
    for node_id, mark in marks[1].items():
        node = now[node_id]
        changes = _changes(was[node_id], node, configs) if mark == "changed" else ()
        found.append(NodeChange(node, mark, changes))
    return found


def _changes(old: Node, new: Node, configs: Configs) -> list[Changed]:
    said = [
        Changed("agent", old.agent, new.agent),
        Changed("version", f"v{old.version}", f"v{new.version}"),
        Changed("reads", ", ".join(sorted(old.inputs)), ", ".join(sorted(new.inputs))),
        Changed("acts for", _whom(old), _whom(new)),
        Changed("hands on", _keep(old), _keep(new)),
    ]
    one, other = (_plain(configs[node.agent, node.version]) for node in (old, new))
    if old.agent == new.agent:
        names = dict.fromkeys([*one, *other])
        said += [Changed(name, one.get(name, ""), other.get(name, "")) for name in names]
    return [each for each in said if each.before != each.after]


def _plain(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings as text, without the weights, which have a table of their own."""
    return {
        name: f"{value:.4g}" if isinstance(value, float) else str(value)
        for name, value in config.items()
        if name != WEIGHTS
    }


def _whom(node: Node) -> str:
    when = node.when
    return "everybody" if when is None else f"{' or '.join(when.segments)} of {when.node}"


def _keep(node: Node) -> str:
    return "all it finds" if node.keep is None else f"the best {node.keep}"


def _edges(old: Graph, new: Graph) -> list[tuple[str, Mark]]:
    was, now = (
        dict.fromkeys(f"{e.source} → {e.target}" for e in edges_of(graph)) for graph in (old, new)
    )
    gone: list[tuple[str, Mark]] = [(edge, "removed") for edge in was if edge not in now]
    return [*gone, *((edge, "added") for edge in now if edge not in was)]


def _routes(old: Graph, new: Graph) -> list[Changed]:
    """For each segment of a router the nodes that act for it, where they differ."""
    was, now = _segments(old), _segments(new)
    return [
        Changed(name, ", ".join(was.get(name, ())), ", ".join(now.get(name, ())))
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]


def _segments(graph: Graph) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        for segment in node.when.segments if node.when else ():
            found.setdefault(f"{segment} of {node.when.node if node.when else ''}", []).append(
                node.id
            )
    return {name: sorted(nodes) for name, nodes in found.items()}


def _weights(old: Graph | None, new: Graph, configs: Configs) -> list[Weight]:
    was = _weights_of(old, configs) if old else {}
    now = _weights_of(new, configs)
    return [
        Weight(fusion, source, was.get((fusion, source)), now.get((fusion, source)))
        for fusion, source in dict.fromkeys([*was, *now])
    ]


def _weights_of(graph: Graph, configs: Configs) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for node in graph.nodes:
        weights = configs[node.agent, node.version].get(WEIGHTS)
        if isinstance(weights, Mapping):
            agent_of = {other.id: other.agent for other in graph.nodes}
            for source in node.inputs:
                name = agent_of.get(source, source)
                found[node.id, name] = float(weights.get(name, 1.0))
    return found


def _metrics(before: CompositionRow | None, after: CompositionRow) -> list[tuple[str, Any, Any]]:
    """Metrics of the registration; on other data they are not comparable and left out."""
    if before is None or before.fingerprint != after.fingerprint:
        return []
    shared = [name for name in before.metrics if name in after.metrics]
    return [(name, before.metrics[name], after.metrics[name]) for name in shared]


def _measured(
    home: Path, before: CompositionRow, after: CompositionRow
) -> dict[str, Sequence[Pair]]:
    cards = [shelf.load(home, row.surface, row.number) for row in (before, after)]
    one, other = cards
    if one is None or other is None or not _same_data(one, other):
        return {}
    found: dict[str, Sequence[Pair]] = {}
    for key, title in _COMPARED.items():
        pairs = _pairs(one, other, key)
        if pairs:
            found[title] = pairs
    return found


def _same_data(one: ReportCard, other: ReportCard) -> bool:
    return (one.fingerprint, one.split) == (other.fingerprint, other.split)


def _pairs(one: ReportCard, other: ReportCard, key: str) -> list[Pair]:
    was, now = (
        {
            (figure.name, figure.of): figure
            for dimension in card.dimensions
            if dimension.key == key
            for figure in dimension.figures
            if not (figure.of and key in _WHOLE)
        }
        for card in (one, other)
    )
    return [
        Pair(name, of, was[name, of], now[name, of])
        for name, of in was
        if (name, of) in now and was[name, of].value is not None and now[name, of].value is not None
    ]
