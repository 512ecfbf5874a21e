"""A composition that lies in the space of compositions is found there again, and no other is."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from agenticrs.agents import catalogue
from agenticrs.evolution import blueprint
from agenticrs.evolution.methods.method import Value
from agenticrs.evolution.reading_back import point_of
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import Choice

from .test_blueprint import VERSIONS, coarse_too, points

DEFAULTS: dict[str, Value] = {
    p.name: p.values[0] if isinstance(p, Choice) else p.low for p in blueprint.space(coarse_too())
}


def whole(plan: blueprint.Blueprint) -> dict[str, dict[str, Any]]:
    """All settings of its functional agents."""
    agents = catalogue.load_agents()
    return {
        name: {**agents[name].config_type().model_dump(mode="json"), **settings}
        for name, settings in plan.configs.items()
    }


@settings(max_examples=100, deadline=None)
@given(points())
def test_what_was_built_from_a_point_is_read_back_as_one_that_builds_the_same(
    point: dict[str, Value],
) -> None:
    known = coarse_too()
    try:
        plan = blueprint.at(point, known)
    except EvolutionError:
        return
    graph = blueprint.graph_of(plan, known, VERSIONS)
    found = point_of(graph, known, whole(plan), DEFAULTS)
    assert found is not None
    assert set(found) == {parameter.name for parameter in blueprint.space(known)}
    again = blueprint.at(found, known)
    assert blueprint.graph_of(again, known, VERSIONS) == graph
    settings_of, settings_then = whole(again), whole(plan)
    for of in (settings_of, settings_then):
        for one in of.values():  # that of a path's own retriever, which is fused with nothing
            one["weights"] = {
                n: w for n, w in one.get("weights", {}).items() if n in plan.retrievers
            }
    assert settings_of == settings_then


def test_the_starter_lies_in_the_space_and_a_graph_of_other_agents_does_not() -> None:
    known = coarse_too()
    plan = blueprint.starter(known)
    graph = blueprint.graph_of(plan, known, VERSIONS)
    configs = whole(blueprint.Blueprint((), "rrf", configs={"rrf": {}, str(plan.router): {}}))
    found = point_of(graph, known, configs, DEFAULTS)
    assert found is not None
    assert (found["weight.itemknn"], found["weight.ease"], found["ranking"]) == (1.0, 0.0, "none")
    fewer = {name: spec for name, spec in known.items() if name != "itemknn"}
    assert point_of(graph, fewer, configs, DEFAULTS) is None


def test_a_graph_that_no_point_builds_is_none() -> None:
    known = coarse_too()
    plan = blueprint.starter(known)
    graph = blueprint.graph_of(plan, known, VERSIONS)
    body = graph.model_dump(mode="json", exclude_none=True)
    for node in body["nodes"]:
        if node["agent"] == "itemknn":
            node["keep"] = 7
    assert point_of(Graph.model_validate(body), known, {}, DEFAULTS) is None
