"""Places the nodes of a composition in layers, so that its edges cross little. Pure arithmetic.

Layers go by the longest way from the source. An edge over several layers gets a bend in each of
them, so that it passes between the nodes and not behind them. Within a layer the order follows the
neighbours' (barycentre, a few sweeps).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from agenticrs.registry.graph import SOURCE, Graph

Direction = Literal["right", "down"]
NODE_WIDTH, NODE_HEIGHT = 152.0, 50.0
SOURCE_WIDTH = 64.0
MARGIN = 14.0
_BEND = 20.0
"""Room across that a passing edge takes."""
_SWEEPS = 6


@dataclass(frozen=True)
class Point:
    """A place in the picture, in its own units."""

    x: float
    y: float


@dataclass(frozen=True)
class Edge:
    """An edge from ``source`` to ``target``; ``route`` is True for a router's condition."""

    source: str
    target: str
    route: bool


@dataclass(frozen=True)
class Layout:
    """Centres of the nodes, the points that each edge runs through, and the picture's size."""

    nodes: Mapping[str, Point]
    edges: Mapping[Edge, Sequence[Point]]
    width: float
    height: float


def edges_of(graph: Graph) -> list[Edge]:
    """Edges in the order of the nodes; a router's edge takes the place of one from the source."""
    found = []
    for node in graph.nodes:
        # A node for one segment reads the users of that segment: the router stands between.
        sources = [s for s in node.inputs if not (node.when and s == SOURCE)]
        found += [Edge(source, node.id, route=False) for source in sources]
        if node.when is not None:
            found.append(Edge(node.when.node, node.id, route=True))
    return found


def place(graph: Graph, direction: Direction) -> Layout:
    """Lay the graph out; it must be free of loops."""
    edges = list(dict.fromkeys(edges_of(graph)))
    depth = _depths(graph, edges)
    chains = {edge: _chain(edge, depth) for edge in edges}
    layers = _layers(depth, chains.values())
    links = [pair for chain in chains.values() for pair in pairwise(chain)]
    _untangle(layers, links)
    sideways = direction == "right"
    along = (NODE_WIDTH + 46.0) if sideways else (NODE_HEIGHT + 44.0)
    across: dict[str, float] = {}
    for layer in layers:
        across |= _spread(layer, sideways)
    least = min(across[name] - _room(name, sideways) / 2 for name in across)
    most = max(across[name] + _room(name, sideways) / 2 for name in across)
    first = (SOURCE_WIDTH if sideways else NODE_HEIGHT * 0.6) / 2 + MARGIN
    half = (NODE_WIDTH if sideways else NODE_HEIGHT) / 2
    # The source is smaller than a node: the first gap shrinks with it.
    shift = half - (first - MARGIN)
    points = {}
    for number, layer in enumerate(layers):
        main = first if number == 0 else MARGIN + half + number * along - shift * 2
        for name in layer:
            cross = across[name] - least + MARGIN
            points[name] = Point(main, cross) if sideways else Point(cross, main)
    length = MARGIN * 2 + half * 2 + (len(layers) - 1) * along - shift * 2
    breadth = most - least + 2 * MARGIN
    return Layout(
        nodes={name: points[name] for name in (SOURCE, *(node.id for node in graph.nodes))},
        edges={edge: [points[name] for name in chain] for edge, chain in chains.items()},
        width=length if sideways else breadth,
        height=breadth if sideways else length,
    )


def _depths(graph: Graph, edges: Sequence[Edge]) -> dict[str, int]:
    depth = {SOURCE: 0}
    for node in graph.order():
        before = [depth[edge.source] for edge in edges if edge.target == node.id]
        depth[node.id] = 1 + max(before, default=0)
    return depth


def _chain(edge: Edge, depth: Mapping[str, int]) -> list[str]:
    """The edge as names in consecutive layers; bends have names that no node can have."""
    bends = [
        f"{edge.source}>{edge.target}>{edge.route}:{layer}"
        for layer in range(depth[edge.source] + 1, depth[edge.target])
    ]
    return [edge.source, *bends, edge.target]


def _layers(depth: Mapping[str, int], chains: Iterable[Sequence[str]]) -> list[list[str]]:
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, number in depth.items():
        layers[number].append(name)
    for chain in chains:
        for offset, name in enumerate(chain[1:-1], 1):
            layers[depth[chain[0]] + offset].append(name)
    return layers


def _untangle(layers: list[list[str]], links: Sequence[tuple[str, str]]) -> None:
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for source, target in links:
        before.setdefault(target, []).append(source)
        after.setdefault(source, []).append(target)
    for sweep in range(_SWEEPS):
        if sweep % 2 == 0:
            for fixed, free in pairwise(layers):
                _follow(fixed, free, before)
        else:
            for free, fixed in reversed(list(pairwise(layers))):
                _follow(fixed, free, after)


def _follow(fixed: Sequence[str], free: list[str], neighbours: Mapping[str, list[str]]) -> None:
    """Sort ``free`` by the mean place of each name's neighbours in ``fixed``."""
    place_of = {name: (i + 0.5) / len(fixed) for i, name in enumerate(fixed)}
    wish = {}
    for i, name in enumerate(free):
        near = [place_of[other] for other in neighbours.get(name, ())]
        wish[name] = sum(near) / len(near) if near else (i + 0.5) / len(free)
    free.sort(key=wish.__getitem__)


def _spread(layer: Sequence[str], sideways: bool) -> dict[str, float]:
    """Places across for the names of one layer, around zero."""
    rooms = [_room(name, sideways) for name in layer]
    start, places = -sum(rooms) / 2, {}
    for name, room in zip(layer, rooms, strict=True):
        places[name] = start + room / 2
        start += room
    return places


def _room(name: str, sideways: bool) -> float:
    if ">" in name:
        return _BEND
    return NODE_HEIGHT + 18.0 if sideways else NODE_WIDTH + 16.0
