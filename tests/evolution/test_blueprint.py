from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.agents import catalogue
from agenticrs.evolution import blueprint
from agenticrs.evolution.methods.method import Value
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
        weights = [v for n, v in point.items() if n.startswith("weight.")]
        assert all(float(weight) < blueprint.LEAST_WEIGHT for weight in weights)
        return
    validate(blueprint.graph_of(plan, specs(), VERSIONS), specs())


def test_the_starter_routes_cold_users_to_popularity() -> None:
    graph = blueprint.graph_of(blueprint.starter(specs()), specs(), VERSIONS)
    validate(graph, specs())
    when = graph.node("popularity").when
    assert when is not None
    assert when.segments == ("cold",)
    assert graph.node("rrf").agent == "rrf"


def test_simple_baselines_are_tried_before_any_search() -> None:
    given_points = blueprint.given_points(specs(), {"ease": 0.9, "bpr": 0.1})
    assert {p["fusion"] for p in given_points} == set(blueprint.of_role(specs(), "fusion"))
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


def test_a_segment_without_a_path_of_its_own_takes_the_common_one() -> None:
    plan = blueprint.Blueprint(
        retrievers=("ease", "itemknn"),
        fusion="rrf",
        router="activity_router",
        paths={"light": "popularity", "heavy": "ease"},
    )
    graph = blueprint.graph_of(plan, specs(), VERSIONS)
    validate(graph, specs())
    when = {name: graph.node(name).when for name in ("popularity", "ease", "itemknn")}
    assert {name: w.segments if w else None for name, w in when.items()} == {
        "popularity": ("light",),
        "ease": ("heavy", "medium"),
        "itemknn": ("medium",),
    }


def test_a_fusion_that_learnt_is_taken_as_it_is_and_one_of_settings_gets_them() -> None:
    point: dict[str, Value] = {"weight.ease": 0.5, "weight.bpr": 0.0, "rrf.k": 7}
    point |= {f"weight.{name}": 0.0 for name in blueprint.of_role(specs(), "retrieval")}
    point |= {"weight.ease": 0.5, "router": "learned_router", "path.learned_router.special": "bpr"}
    learnt = blueprint.at({**point, "fusion": "learned_fusion"}, specs())
    assert learnt.configs == {}
    assert (learnt.router, learnt.paths) == ("learned_router", {"special": "bpr"})
    voted = blueprint.at({**point, "fusion": "rrf"}, specs())
    assert voted.configs == {
        "rrf": {"k": 7, "weights": {"ease": 0.5, "bpr": blueprint.LEAST_WEIGHT}}
    }
