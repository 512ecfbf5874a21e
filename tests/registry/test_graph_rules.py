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


def test_a_graph_without_cuts_keeps_the_digest_that_it_had_before_there_were_any() -> None:
    graph = Graph.model_validate({"nodes": GOOD, "output": "rrf"})
    assert graph.digest() == "484af4ff9e553620b2f4b88dbc1fd4ed107d96324258124730d444b921f6578b"
    assert all("keep" not in node for node in graph.model_dump(mode="json")["nodes"])


def test_what_a_node_keeps_is_stored_and_changes_the_digest() -> None:
    nodes = [*GOOD[:2], {**GOOD[2], "keep": 20}, node("mmr", "rrf")]
    graph = Graph.model_validate({"nodes": nodes, "output": "mmr"})
    validate(graph, SPECS)
    stored = Graph.model_validate(graph.model_dump(mode="json"))
    assert stored.node("rrf").keep == 20
    assert stored.digest() == graph.digest()
    nodes[2]["keep"] = 50
    assert Graph.model_validate({"nodes": nodes, "output": "mmr"}).digest() != graph.digest()


def test_a_node_keeps_at_least_one() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Graph.model_validate({"nodes": [node("ease", keep=0)], "output": "ease"})


def test_an_output_that_reads_candidates_may_be_for_some_users_only() -> None:
    cold = {"node": "history_router", "segments": ["cold"]}
    nodes = [*GOOD, node("history_router"), node("mmr", "rrf", when=cold)]
    validate(Graph.model_validate({"nodes": nodes, "output": "mmr"}), SPECS)


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
        (
            [
                node("history_router"),
                node("ease", when={"node": "history_router", "segments": ["cold"]}),
            ],
            "ease",
            "nothing for the users outside it",
        ),
        ([*GOOD[:2], {**GOOD[2], "keep": 20}], "rrf", "output 'rrf' cannot keep 20"),
        (
            [
                node("history_router", keep=5),
                node("ease", when={"node": "history_router", "segments": ["cold"]}),
                node("rrf", "ease"),
            ],
            "rrf",
            "node 'history_router': agent 'history_router' puts out no candidates",
        ),
        ([*GOOD, node("popularity")], "rrf", "'popularity' has no path to output"),
    ],
)
def test_what_could_not_run_is_refused_by_name(
    nodes: list[dict[str, Any]], output: str, saying: str
) -> None:
    refused(nodes, output, saying)
