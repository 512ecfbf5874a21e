"""Pictures of compositions: well-formed, complete, in words too, and without overlaps."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.registry.graph import SOURCE, Condition, Graph, Node
from agenticrs.ui.console import graph_svg
from agenticrs.ui.console.graph_layout import NODE_HEIGHT, NODE_WIDTH, Direction, place

SVG = "{http://www.w3.org/2000/svg}"


def node(
    name: str,
    *inputs: str,
    when: str | None = None,
    version: int = 1,
    keep: int | None = None,
) -> Node:
    condition = Condition(node="router", segments=(when,)) if when else None
    return Node(
        id=name,
        agent=name,
        version=version,
        inputs=inputs or (SOURCE,),
        when=condition,
        keep=keep,
    )


PIPELINE = Graph(
    nodes=(
        node("router"),
        node("popularity", when="cold"),
        node("bpr", when="warm"),
        node("ease"),
        node("fusion", "popularity", "bpr", "ease"),
        node("ranker", SOURCE, "fusion"),
    ),
    output="ranker",
)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(
        str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = [f"n{i}" for i in range(draw(st.integers(1, 9)))]
    nodes = []
    for i, name in enumerate(names):
        known = [SOURCE, *names[:i]]
        chosen = draw(st.lists(st.sampled_from(known), min_size=1, max_size=4, unique=True))
        nodes.append(node(name, *chosen))
    return Graph(nodes=tuple(nodes), output=names[-1])


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from(["right", "down"]))
def test_nodes_never_overlap_and_stay_inside(graph: Graph, direction: Direction) -> None:
    layout = place(graph, direction)
    centres = [layout.nodes[n.id] for n in graph.nodes]
    for a, b in itertools.combinations(centres, 2):
        assert abs(a.x - b.x) >= NODE_WIDTH or abs(a.y - b.y) >= NODE_HEIGHT
    for point in centres:
        assert NODE_WIDTH / 2 <= point.x <= layout.width - NODE_WIDTH / 2
        assert NODE_HEIGHT / 2 <= point.y <= layout.height - NODE_HEIGHT / 2


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from(["right", "down"]))
def test_data_flows_in_one_direction_and_bends_keep_clear_of_nodes(
    graph: Graph, direction: Direction
) -> None:
    layout = place(graph, direction)
    for points in layout.edges.values():
        main = [p.x if direction == "right" else p.y for p in points]
        assert main == sorted(set(main))
        for bend, n in itertools.product(points[1:-1], graph.nodes):
            centre = layout.nodes[n.id]
            clear = abs(bend.x - centre.x) >= NODE_WIDTH / 2
            assert clear or abs(bend.y - centre.y) >= NODE_HEIGHT / 2


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_every_node_and_edge_is_drawn(graph: Graph) -> None:
    root = parsed(graph_svg.draw(graph, name="g", title="t"))
    drawn = [g for g in root.iter(f"{SVG}g") if "node" in (g.get("class") or "").split()]
    assert len(drawn) == len(graph.nodes) + 1
    edges = [p for p in root.iter(f"{SVG}path") if "edge" in (p.get("class") or "").split()]
    assert len(edges) == sum(len(n.inputs) for n in graph.nodes)


def test_edges_say_which_nodes_they_join() -> None:
    root = parsed(graph_svg.draw(PIPELINE, name="g", title="t"))
    nodes = {g.attrib["data-node"] for g in root.iter() if "data-node" in g.attrib}
    assert nodes == {node.id for node in PIPELINE.nodes}
    ends = {
        (p.attrib["data-from"], p.attrib["data-to"]) for p in root.iter() if "data-to" in p.attrib
    }
    assert {end for pair in ends for end in pair} == {*nodes, "users"}


def test_the_picture_says_the_same_in_words() -> None:
    root = parsed(graph_svg.draw(PIPELINE, name="g", title="What serves"))
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "g-title g-desc"
    found = root.find(f"{SVG}desc")
    assert found is not None
    text = found.text or ""
    assert "popularity version 1 reads users, only for users in segment cold of router" in text
    assert text.endswith("ranker is shown.")


def test_conditional_nodes_are_dashed_and_carry_their_segment() -> None:
    root = parsed(graph_svg.draw(PIPELINE, name="g", title="t"))
    kinds = [g.get("class") or "" for g in root.iter(f"{SVG}g")]
    assert sum("conditional" in kind for kind in kinds) == 2
    labels = [
        (g.find(f"{SVG}text").text)  # type: ignore[union-attr]
        for g in root.iter(f"{SVG}g")
        if g.get("class") == "segment"
    ]
    assert labels == ["cold", "warm"]


CASCADE = Graph(
    nodes=(
        node("router"),
        node("ease"),
        node("fusion", "ease", keep=200),
        node("coarse", SOURCE, "fusion", when="warm", keep=20),
        node("ranker", SOURCE, "coarse", when="warm"),
    ),
    output="ranker",
)


@pytest.mark.parametrize("direction", ["right", "down"])
def test_how_many_candidates_go_on_stands_where_they_leave_the_node(direction: Direction) -> None:
    root = parsed(graph_svg.draw(CASCADE, name="g", title="t", direction=direction))
    layout = place(CASCADE, direction)
    pills = [g for g in root.iter(f"{SVG}g") if g.get("class") == "segment keep"]
    texts = [pill.find(f"{SVG}text").text for pill in pills]  # type: ignore[union-attr]
    assert texts == ["top 200", "top 20"]
    for pill, name in zip(pills, ("fusion", "coarse"), strict=True):
        rect = pill.find(f"{SVG}rect")
        assert rect is not None
        x, width = float(rect.get("x", 0)), float(rect.get("width", 0))
        assert x + width < layout.nodes[name].x + NODE_WIDTH / 2
        assert x > layout.nodes[name].x


def test_a_cascade_and_who_skips_it_are_told_in_words() -> None:
    text = graph_svg.describe(CASCADE, {})
    assert "fusion version 1 reads ease, hands on at most 200;" in text
    assert (
        "coarse version 1 reads users and fusion, only for users in segment warm of router, "
        "the others skip it, hands on at most 20;" in text
    )


def test_another_number_of_candidates_is_a_change() -> None:
    fusion = node("fusion", "ease", keep=50)
    fewer = CASCADE.model_copy(
        update={"nodes": tuple(fusion if n.id == "fusion" else n for n in CASCADE.nodes)}
    )
    marks = {"fusion": "changed"}
    assert graph_svg.changes(CASCADE, fewer) == (marks, marks)


def test_changes_between_two_graphs_are_marked_in_both() -> None:
    before = Graph(nodes=(node("a"), node("b"), node("f", "a", "b")), output="f")
    after = Graph(nodes=(node("a", version=2), node("c"), node("f", "a", "c")), output="f")
    old, new = graph_svg.changes(before, after)
    assert old == {"b": "removed", "a": "changed", "f": "changed"}
    assert new == {"c": "added", "a": "changed", "f": "changed"}
    picture = graph_svg.draw(after, name="g", title="t", marks=new)
    assert 'class="node added"' in picture
    assert ">+<" in picture, "colour is not the only sign"


def test_another_order_of_inputs_is_no_change() -> None:
    one = Graph(nodes=(node("a"), node("b"), node("f", "a", "b")), output="f")
    two = Graph(nodes=(node("b"), node("a"), node("f", "b", "a")), output="f")
    assert graph_svg.changes(one, two) == ({}, {})


@pytest.mark.parametrize("text", ["<script>", '" onload="x', "&amp;", "]]>"])
def test_text_is_escaped_wherever_it_comes_from(text: str) -> None:
    graph = Graph(nodes=(Node(id="a", agent=text, version=1),), output="a")
    svg = graph_svg.draw(graph, name="g", title=text, roles={text: text})
    root = parsed(svg)
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == text
    assert not list(root.iter(f"{SVG}script"))
    assert all(not name.startswith("on") for e in root.iter() for name in e.attrib)


def test_only_what_a_phone_cannot_show_whole_is_broad() -> None:
    def beside(count: int) -> Graph:
        names = [f"n{number}" for number in range(count)]
        last = Node(id="last", agent="rrf", version=1, inputs=tuple(names))
        return Graph(
            nodes=(*(Node(id=n, agent="ease", version=1) for n in names), last), output="last"
        )

    for count, kinds in ((3, "graph"), (6, "graph broad")):
        drawn = graph_svg.draw(beside(count), name="g", title="t", direction="down")
        assert f'<svg class="{kinds}" ' in drawn


def test_long_names_are_cut_but_told_in_full() -> None:
    graph = Graph(nodes=(Node(id="a", agent="x" * 40, version=12),), output="a")
    root = parsed(graph_svg.draw(graph, name="g", title="t"))
    texts = [t.text or "" for t in root.iter(f"{SVG}text")]
    assert all(len(text) <= 24 for text in texts)
    assert any("x" * 40 in (t.text or "") for t in root.iter(f"{SVG}title"))
