"""Two compositions beside each other: what differs is named, what is the same is not."""

from __future__ import annotations

from typing import Any

import pytest

from agenticrs.platform.database import session_scope
from agenticrs.registry import compositions
from agenticrs.registry.graph import Condition, Graph, Node
from agenticrs.ui.console import difference, graph_svg
from agenticrs.ui.console.difference import Changed, Difference, difference_view

CONFIGS = {
    ("fusion", 1): {"depth": 50, "weights": {"a": 1.0}},
    ("fusion", 2): {"depth": 80, "weights": {"a": 1.0, "b": 0.25}},
}


def node(name: str, *inputs: str, version: int = 1, when: str | None = None) -> Node:
    condition = Condition(node="router", segments=(when,)) if when else None
    inputs = inputs or ("users",)
    return Node(id=name, agent=name, version=version, inputs=inputs, when=condition)


BEFORE = Graph(nodes=(node("a"), node("fusion", "a")), output="fusion")
AFTER = Graph(
    nodes=(
        node("router"),
        node("a", when="warm"),
        node("b"),
        node("fusion", "a", "b", version=2),
    ),
    output="fusion",
)


@pytest.fixture
def configs() -> Any:
    known: dict[Any, Any] = {
        (n.agent, n.version): {} for graph in (BEFORE, AFTER) for n in graph.nodes
    }
    return {**known, **CONFIGS}


def test_a_node_that_changed_says_in_what(configs: Any) -> None:
    marks = graph_svg.changes(BEFORE, AFTER)
    found = {n.node.id: n for n in difference._nodes(BEFORE, AFTER, marks, configs)}
    assert {name: n.mark for name, n in found.items()} == {
        "router": "added",
        "b": "added",
        "a": "changed",
        "fusion": "changed",
    }
    assert found["a"].changes == [Changed("acts for", "everybody", "warm of router")]
    assert Changed("version", "v1", "v2") in found["fusion"].changes
    assert Changed("depth", "50", "80") in found["fusion"].changes


def test_edges_and_routes_are_told(configs: Any) -> None:
    assert difference._edges(BEFORE, AFTER) == [
        ("users → a", "removed"),
        ("users → router", "added"),
        ("router → a", "added"),
        ("users → b", "added"),
        ("b → fusion", "added"),
    ]
    assert difference._routes(BEFORE, AFTER) == [Changed("warm of router", "", "a")]
    assert difference._routes(BEFORE, BEFORE) == []


def test_an_input_without_a_weight_counts_one_and_one_that_is_not_there_has_none(
    configs: Any,
) -> None:
    found = {w.source: (w.before, w.after) for w in difference._weights(BEFORE, AFTER, configs)}
    assert found == {"a": (1.0, 1.0), "b": (None, 0.25)}


EVIDENCE = {
    "segments": {"cold": 0.01},
    "score": {"mean": 0.06, "low": 0.02, "high": 0.1},
    "cost": {"trials": 18, "seconds": 214.0},
    "trust": 0.7,
}


def seen(place: Any, before: int, after: int) -> Difference:
    with session_scope(place.engine) as session:
        one, other = (compositions.get(session, "home", n) for n in (before, after))
        return difference_view(session, place.settings.home, one, other, None)


def test_both_pictures_have_the_same_scale_and_the_same_graph_has_no_difference(
    place: Any,
) -> None:
    found = seen(place, 1, 2)
    widths = {
        str(p).split('width="')[1].split('"')[0]
        for p in (found.picture_before, found.picture_after)
    }
    assert len(widths) == 1
    same = seen(place, 2, 2)
    assert (same.nodes, same.edges, same.routes) == ([], [], [])


def test_without_a_proposal_the_page_says_that_nobody_has_tested_it(place: Any) -> None:
    client = place.logged_in()
    text = client.get("/compositions/compare?before=1&after=2").text
    assert "No proposal goes from one to the other" in text
    assert client.get("/compositions/compare?before=1&after=99").status_code == 404
    with session_scope(place.engine) as session:
        one, other = (compositions.get(session, "home", n) for n in (1, 2))
    place.propose(one, other, title="Route cold users", evidence=EVIDENCE)
    text = client.get("/compositions/compare?before=1&after=2").text
    for said in (
        "Route cold users",
        "Effect by segment",
        "+6.0 %",
        "+2.0 % … +10.0 %",
        "spent on 18 trials",
        "<b>high</b><span>risk</span>".replace("<b>", '<b class="bad">'),
        "<b>0.7</b><span>trust score",
    ):
        assert said in text, said
