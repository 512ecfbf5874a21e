"""A composition as an SVG picture, made on the server: no script is needed to see it.

Colours come from the page's style sheet by class names. Everything that is text is escaped, and
the picture has a title and a description that say the same in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

from markupsafe import Markup

from agenticrs.registry.graph import SOURCE, Graph, Node
from agenticrs.ui.console.graph_layout import (
    NODE_HEIGHT,
    NODE_WIDTH,
    SOURCE_WIDTH,
    Direction,
    Edge,
    Layout,
    Point,
    place,
)

Mark = Literal["added", "removed", "changed"]
_LONGEST_TEXT = 20
_BROAD = 640
"""Wider than this, a phone could not show it whole with words that can be read."""


def changes(before: Graph, after: Graph) -> tuple[dict[str, Mark], dict[str, Mark]]:
    """Marks for the nodes of both graphs: what leaves, joins, or stands there changed."""
    old = {node.id: node for node in before.nodes}
    new = {node.id: node for node in after.nodes}
    marks_before: dict[str, Mark] = {i: "removed" for i in old if i not in new}
    marks_after: dict[str, Mark] = {i: "added" for i in new if i not in old}
    for node_id in old.keys() & new.keys():
        if _essence(old[node_id]) != _essence(new[node_id]):
            marks_before[node_id] = marks_after[node_id] = "changed"
    return marks_before, marks_after


def draw(
    graph: Graph,
    *,
    name: str,
    title: str,
    roles: Mapping[str, str] | None = None,
    marks: Mapping[str, Mark] | None = None,
    direction: Direction = "right",
    linked: bool = False,
    room: float = 0.0,
) -> Markup:
    """The graph as an ``<svg>`` element.

    Args:
        graph: The composition.
        name: Makes the element's ids unique within the page (letters, digits, hyphens).
        title: What the picture shows, for people who cannot see it.
        roles: Role of each agent, shown in its node.
        marks: Nodes to highlight.
        direction: Where the data flows.
        room: Least width, so that two pictures beside each other have the same scale.
        linked: Whether each node leads to the page's element ``member-<node>``, which says more.
    """
    marks, roles = marks or {}, roles or {}
    layout = place(graph, direction)
    parts = [
        Markup(
            '<svg class="{kinds}" role="{role}" viewBox="{left} 0 {w} {h}" width="{w}" '
            'height="{h}" '
            'aria-labelledby="{name}-title {name}-desc">'
            '<title id="{name}-title">{title}</title><desc id="{name}-desc">{text}</desc>'
            '<defs><marker id="{name}-arrow" class="arrow" viewBox="0 0 8 8" refX="7" refY="4" '
            'markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
            '<path d="M0 0.8 L7.4 4 L0 7.2 z"/></marker></defs>'
        ).format(
            kinds="graph broad" if max(layout.width, room) > _BROAD else "graph",
            role="group" if linked else "img",
            left=f"{min(0.0, (layout.width - room) / 2):.0f}",
            w=f"{max(layout.width, room):.0f}",
            h=f"{layout.height:.0f}",
            name=name,
            title=title,
            text=describe(graph, marks),
        )
    ]
    parts += [_edge(edge, points, name, direction) for edge, points in layout.edges.items()]
    parts.append(_source(layout.nodes[SOURCE]))
    for node in graph.order():
        drawn = _node(node, layout, roles, marks.get(node.id), graph)
        parts.append(_link(node, drawn) if linked else drawn)
    return Markup("").join([*parts, *_labels(graph, layout, direction), Markup("</svg>")])


def describe(graph: Graph, marks: Mapping[str, Mark]) -> str:
    """The graph in words."""
    sentences = []
    for node in graph.order():
        sentence = f"{node.agent} version {node.version} reads {' and '.join(node.inputs)}"
        if node.when is not None:
            sentence += (
                f", only for users in segment {' or '.join(node.when.segments)} of {node.when.node}"
            )
            sentence += ", the others skip it" if set(node.inputs) - {SOURCE} else ""
        sentence += "" if node.keep is None else f", hands on at most {node.keep}"
        if node.id in marks:
            sentence += f" ({marks[node.id]})"
        sentences.append(sentence)
    return "; ".join(sentences) + f". {graph.output} is shown."


def _essence(node: Node) -> tuple[object, ...]:
    return (node.agent, node.version, node.when, node.keep, tuple(sorted(node.inputs)))


def _edge(edge: Edge, points: Sequence[Point], name: str, direction: Direction) -> Markup:
    return Markup(
        '<path class="{kind}" data-from="{source}" data-to="{target}" d="{path}" '
        'marker-end="url(#{name}-arrow)"/>'
    ).format(
        kind="edge route" if edge.route else "edge",
        source=edge.source,
        target=edge.target,
        path=_path(edge, points, direction),
        name=name,
    )


def _path(edge: Edge, points: Sequence[Point], direction: Direction) -> str:
    start = _side(points[0], edge.source, direction, leaving=True)
    end = _side(points[-1], edge.target, direction, leaving=False)
    text = f"M{start.x:.1f} {start.y:.1f}"
    # Between two nodes an edge runs straight; it bends only in the gaps of the layers.
    straight = [_passing(point, direction) for point in points[1:-1]]
    legs = pairwise([(start, start), *straight, (end, end)])
    for (_, a), (b, further) in legs:
        if direction == "right":
            middle = (a.x + b.x) / 2
            text += f" C{middle:.1f} {a.y:.1f} {middle:.1f} {b.y:.1f} {b.x:.1f} {b.y:.1f}"
        else:
            middle = (a.y + b.y) / 2
            text += f" C{a.x:.1f} {middle:.1f} {b.x:.1f} {middle:.1f} {b.x:.1f} {b.y:.1f}"
        if further != b:
            text += f" L{further.x:.1f} {further.y:.1f}"
    return text


def _passing(centre: Point, direction: Direction) -> tuple[Point, Point]:
    """Where an edge enters and leaves a layer that it only passes."""
    if direction == "right":
        half = NODE_WIDTH / 2
        return Point(centre.x - half, centre.y), Point(centre.x + half, centre.y)
    half = NODE_HEIGHT / 2
    return Point(centre.x, centre.y - half), Point(centre.x, centre.y + half)


def _side(centre: Point, node_id: str, direction: Direction, *, leaving: bool) -> Point:
    """Where an edge touches the node."""
    sign = 1.0 if leaving else -1.0
    if direction == "right":
        half = (SOURCE_WIDTH if node_id == SOURCE else NODE_WIDTH) / 2
        return Point(centre.x + sign * half, centre.y)
    half = (NODE_HEIGHT * 0.6 if node_id == SOURCE else NODE_HEIGHT) / 2
    return Point(centre.x, centre.y + sign * half)


def _source(centre: Point) -> Markup:
    height = NODE_HEIGHT * 0.6
    return Markup(
        '<g class="node source"><rect x="{x:.1f}" y="{y:.1f}" width="{w}" height="{h}" rx="{r}"/>'
        '<text x="{cx:.1f}" y="{ty:.1f}">users</text></g>'
    ).format(
        x=centre.x - SOURCE_WIDTH / 2,
        y=centre.y - height / 2,
        w=SOURCE_WIDTH,
        h=height,
        r=height / 2,
        cx=centre.x,
        ty=centre.y + 4,
    )


def _node(
    node: Node, layout: Layout, roles: Mapping[str, str], mark: Mark | None, graph: Graph
) -> Markup:
    centre = layout.nodes[node.id]
    kinds = ["node"]
    kinds += ["conditional"] if node.when else []
    kinds += ["output"] if node.id == graph.output else []
    kinds += [mark] if mark else []
    role = roles.get(node.agent, "").replace("_", " ")
    second = f"{role} · v{node.version}" if role else f"v{node.version}"
    return Markup(
        '<g class="{kinds}" data-node="{id}"><title>{full}</title>'
        '<rect x="{x:.1f}" y="{y:.1f}" width="{w}" height="{h}" rx="8"/>'
        '<text class="name" x="{cx:.1f}" y="{y1:.1f}">{first}</text>'
        '<text class="role" x="{cx:.1f}" y="{y2:.1f}">{second}</text>{badge}</g>'
    ).format(
        kinds=" ".join(kinds),
        id=node.id,
        full=f"{node.id}: {node.agent} version {node.version}",
        x=centre.x - NODE_WIDTH / 2,
        y=centre.y - NODE_HEIGHT / 2,
        w=NODE_WIDTH,
        h=NODE_HEIGHT,
        cx=centre.x,
        y1=centre.y - 4,
        y2=centre.y + 14,
        first=_short(node.agent),
        second=_short(second, 24),
        badge=_badge(centre, mark) if mark else "",
    )


def _link(node: Node, drawn: Markup) -> Markup:
    return Markup(
        '<a href="#member-{id}" data-card="member-{id}" aria-label="{agent} version {version}">'
        "{drawn}</a>"
    ).format(id=node.id, agent=node.agent, version=node.version, drawn=drawn)


def _badge(centre: Point, mark: Mark) -> Markup:
    """A sign in the node's corner, so that colour is not the only difference."""
    x, y = centre.x + NODE_WIDTH / 2 - 4, centre.y - NODE_HEIGHT / 2 + 3
    sign = {"added": "+", "removed": "−", "changed": "~"}[mark]  # noqa: RUF001
    return Markup(
        '<g class="badge"><circle cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
        '<text x="{x:.1f}" y="{ty:.1f}">{sign}</text></g>'
    ).format(x=x, y=y, ty=y + 4.5, sign=sign)


def _labels(graph: Graph, layout: Layout, direction: Direction) -> list[Markup]:
    """The segment's name where a router's edge arrives, and how many candidates leave a node.

    They stand above the edges, so that they are readable.
    """
    labels = []
    for node in graph.nodes:
        centre = layout.nodes[node.id]
        left, right = centre.x - NODE_WIDTH / 2, centre.x + NODE_WIDTH / 2
        if node.when is not None:
            text = _short(" or ".join(node.when.segments), 14)
            x = left + (4 if direction == "down" else 12)
            labels.append(_label("segment", x, centre.y - NODE_HEIGHT / 2, text))
        if node.keep is not None:
            text = f"top {node.keep}"
            x = right - 12 - _label_width(text)
            # A little lower, clear of the text above it.
            labels.append(_label("segment keep", x, centre.y + NODE_HEIGHT / 2 + 4, text))
    return labels


def _label_width(text: str) -> float:
    return 14 + 6.2 * len(text)


def _label(kinds: str, x: float, middle: float, text: str) -> Markup:
    return Markup(
        '<g class="{kinds}"><rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="16" '
        'rx="8"/><text x="{tx:.1f}" y="{ty:.1f}">{text}</text></g>'
    ).format(
        kinds=kinds,
        x=x,
        y=middle - 8,
        w=_label_width(text),
        tx=x + _label_width(text) / 2,
        ty=middle + 4,
        text=text,
    )


def _short(text: str, most: int = _LONGEST_TEXT) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
