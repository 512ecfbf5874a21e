from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.agents import catalogue
from agenticrs.evolution import blueprint
from agenticrs.evolution.search import Value
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.graph import validate
from agenticrs.registry.spec import AgentSpec, Choice, FloatRange


def specs() -> dict[str, AgentSpec]:
    return {name: kind.spec for name, kind in catalogue.load_agents().items()}


VERSIONS = dict.fromkeys(catalogue.load_agents(), 1)


@st.composite
def points(draw: st.DrawFn) -> dict[str, Value]:
    point: dict[str, Value] = {}
    for parameter in blueprint.space(specs()):
        if isinstance(parameter, Choice):
            point[parameter.name] = draw(st.sampled_from(parameter.values))
        elif isinstance(parameter, FloatRange):
            point[parameter.name] = draw(st.floats(parameter.low, parameter.high))
        else:
            point[parameter.name] = draw(st.integers(parameter.low, parameter.high))
    return point


@settings(max_examples=200, deadline=None)
@given(points())
def test_every_point_of_the_space_is_a_valid_graph_or_is_refused(point: dict[str, Value]) -> None:
    try:
        plan = blueprint.at(point, specs())
    except EvolutionError:
        weights = [v for n, v in point.items() if ".weights." in n]
        assert all(float(weight) < blueprint.LEAST_WEIGHT for weight in weights)
        return
    validate(blueprint.graph_of(plan, specs(), VERSIONS), specs())


def test_the_starter_routes_cold_users_to_popularity() -> None:
    graph = blueprint.graph_of(blueprint.starter(specs()), specs(), VERSIONS)
    validate(graph, specs())
    when = graph.node("popularity").when
    assert when is not None
    assert when.segment == "cold"


def test_simple_baselines_are_tried_before_any_search() -> None:
    given_points = blueprint.given_points(specs(), {"ease": 0.9, "bpr": 0.1})
    alone = blueprint.at(given_points[0], specs())
    assert (alone.retrievers, alone.ranker) == (("ease",), None)
    assert any(
        len(blueprint.at(p, specs()).retrievers) == len(blueprint.of_role(specs(), "retrieval"))
        for p in given_points
    )


def test_a_surface_without_retrievers_cannot_start() -> None:
    only = {name: spec for name, spec in specs().items() if spec.role == "fusion"}
    with pytest.raises(EvolutionError, match="at least one retriever"):
        blueprint.starter(only)
