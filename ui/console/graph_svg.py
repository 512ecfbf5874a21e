"""A composition as a picture: a small layered layout, drawn on the server as accessible SVG.

Nodes stand in columns by their distance from the users. Conditional nodes have a dashed border and
the segment's name; ``changes`` marks what a proposal adds, removes or changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Literal

from agenticrs.registry.graph import SOURCE, Graph, Node

Change = Literal["added", "removed", "changed"]
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 132, 46, 46, 18, 12


def draw(graph: Graph, title: str, changes: Mapping[str, Change] | None = None) -> str:
    """SVG text (safe to place in a page: every name is escaped)."""
    marks = changes or {}
    places = _places(graph)
    columns = max(x for x, _ in places.values()) + 1
    rows = max(y for _, y in places.values()) + 1
    width = columns * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN
    height = rows * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    described = "; ".join(
        f"{node.agent} version {node.version} reads {', '.join(node.inputs)}"
        + (f" for {node.when.segment} users" if node.when else "")
        for node in graph.nodes
    )
    parts = [
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title><desc>{escape(described)}</desc>",
    ]
    for node in graph.nodes:
        for source in node.inputs:
            parts.append(_edge(places[source], places[node.id], "edge"))
        if node.when:
            parts.append(_edge(places[node.when.node], places[node.id], "edge condition"))
    parts.append(_box(places[SOURCE], "users", "", "source"))
    for node in graph.nodes:
        parts.append(_node(node, places[node.id], graph.output, marks.get(node.agent)))
    return "".join([*parts, "</svg>"])


def _places(graph: Graph) -> dict[str, tuple[int, int]]:
    """Column and row of every node: a column further than the furthest it reads."""
    column = {SOURCE: 0}
    for node in graph.order():
        reads = [*node.inputs, *([node.when.node] if node.when else [])]
        column[node.id] = 1 + max(column[source] for source in reads)
    taken: dict[int, int] = {}
    places = {}
    for name, x in column.items():
        places[name] = (x, taken.get(x, 0))
        taken[x] = taken.get(x, 0) + 1
    return places


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    return MARGIN + place[0] * (WIDTH + GAP_X), MARGIN + place[1] * (HEIGHT + GAP_Y)


def _edge(start: tuple[int, int], end: tuple[int, int], kind: str) -> str:
    (x1, y1), (x2, y2) = _corner(start), _corner(end)
    x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT // 2, y2 + HEIGHT // 2
    bend = GAP_X // 2
    return f'<path class="{kind}" d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>'


def _node(node: Node, place: tuple[int, int], output: str, change: Change | None) -> str:
    kinds = ["node"]
    if node.when:
        kinds.append("conditional")
    if node.id == output:
        kinds.append("output")
    if change:
        kinds.append(change)
    below = f"v{node.version}" + (f", {node.when.segment} users" if node.when else "")
    if change:
        below += f" ({change})"
    return _box(place, node.agent, below, " ".join(kinds))


def _box(place: tuple[int, int], name: str, below: str, kind: str) -> str:
    x, y = _corner(place)
    middle = x + WIDTH // 2
    lift = 20 if below else 28
    text = f'<text class="name" x="{middle}" y="{y + lift}">{escape(name)}</text>'
    if below:
        text += f'<text class="below" x="{middle}" y="{y + 36}">{escape(below)}</text>'
    return (
        f'<g class="{kind}"><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7"/>'
        f"{text}</g>"
    )
