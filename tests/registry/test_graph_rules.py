"""Every way in which a composition can be wrong is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from agenticrs.agents import catalogue
from agenticrs.platform.errors import InvalidComposition
from agenticrs.registry.graph import Graph, validate

SPECS = {name: kind.spec for name, kind in catalogue.load_agents().items()}


def node(name: str, *inputs: str, agent: str = "", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "agent": agent or name,
        "version": 1,
        "inputs": inputs or ("users",),
        **more,
    }


GOOD = [node("ease"), node("itemknn"), node("rrf", "ease", "itemknn")]


def refused(nodes: list[dict[str, Any]], output: str, saying: str) -> None:
    with pytest.raises(InvalidComposition, match=saying):
        validate(Graph.model_validate({"nodes": nodes, "output": output}), SPECS)


def test_a_good_graph_passes_and_its_order_follows_its_edges() -> None:
    graph = Graph.model_validate({"nodes": GOOD[::-1], "output": "rrf"})
    validate(graph, SPECS)
    assert [n.id for n in graph.order()][-1] == "rrf"


def test_the_digest_changes_with_the_content_only() -> None:
    graph = Graph.model_validate({"nodes": GOOD, "output": "rrf"})
    assert graph.digest() == Graph.model_validate(graph.model_dump()).digest()
    assert graph.digest() != graph.with_version("ease", 2).digest()


@pytest.mark.parametrize(
    ("nodes", "output", "saying"),
    [
        ([], "rrf", "no nodes"),
        ([*GOOD, node("ease")], "rrf", "'ease' is used twice"),
        ([*GOOD, node("ghost")], "rrf", "unknown agent 'ghost'"),
        ([*GOOD, node("long_tower", "users", "rrf")], "long_tower", "is a part of 'towers'"),
        (
            [*GOOD, node("twin", agent="ease") | {"version": 2}],
            "rrf",
            "stands at two versions",
        ),
        ([node("ease"), node("rrf", "ease", "nowhere")], "rrf", "'nowhere', which does not exist"),
        (
            [node("a", "b", agent="rrf"), node("b", "a", agent="rrf")],
            "a",
            "loop: ",
        ),
        ([node("ease"), node("rrf", "users")], "rrf", "carries users"),
        ([node("ease", "users", "users")], "ease", "takes 1 inputs, got 2"),
        (
            [node("ease", when={"node": "itemknn", "segments": ["cold"]}), *GOOD[1:]],
            "rrf",
            "no segment 'cold'",
        ),
        (
            [node("ease", when={"node": "users", "segments": ["cold"]}), *GOOD[1:]],
            "rrf",
            "must name a router",
        ),
        (GOOD, "nothing", "output 'nothing' is no node"),
        ([node("history_router")], "history_router", "puts out candidates"),
        ([*GOOD, node("popularity")], "rrf", "'popularity' has no path to output"),
    ],
)
def test_what_could_not_run_is_refused_by_name(
    nodes: list[dict[str, Any]], output: str, saying: str
) -> None:
    refused(nodes, output, saying)
