from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.agents import catalogue
from agenticrs.evolution import blueprint
from agenticrs.evolution.methods.method import Value
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.graph import Graph, validate
from agenticrs.registry.spec import AgentSpec, Choice, FloatRange


def specs() -> dict[str, AgentSpec]:
    return {name: kind.spec for name, kind in catalogue.load_agents().items()}


def coarse_too() -> dict[str, AgentSpec]:
    """The installed agents, and one whose role it is to rank coarsely."""
    spec = specs()["lr"].model_copy(update={"name": "quick", "role": "coarse_ranking"})
    return {**specs(), "quick": spec}


VERSIONS = dict.fromkeys(coarse_too(), 1)
EVERYBODY: dict[str, Value] = {
    f"weight.{name}": 1.0 for name in blueprint.of_role(specs(), "retrieval")
}


def graph_at(**chosen: Value) -> Graph:
    """The graph at a point; dots are written as two underscores."""
    point = {**EVERYBODY, **{name.replace("__", "."): value for name, value in chosen.items()}}
    graph = blueprint.graph_of(blueprint.at(point, specs()), specs(), VERSIONS)
    validate(graph, specs())
    return graph


@st.composite
def points(draw: st.DrawFn) -> dict[str, Value]:
    point: dict[str, Value] = {}
    for parameter in blueprint.space(coarse_too()):
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
    known = coarse_too()
    try:
        plan = blueprint.at(point, known)
    except EvolutionError:
        weights = [v for n, v in point.items() if n.startswith("weight.")]
        assert all(float(weight) < blueprint.LEAST_WEIGHT for weight in weights)
        return
    graph = blueprint.graph_of(plan, known, VERSIONS)
    validate(graph, known)
    says_so(graph, point, known)


def says_so(graph: Graph, point: dict[str, Value], known: dict[str, AgentSpec]) -> None:
    """What the graph holds behind its fusion is what the point says."""
    behind = [node for node in graph.nodes if known[node.agent].role in ("ranking", "reranking")]
    behind += [node for node in graph.nodes if known[node.agent].role == "coarse_ranking"]
    ranker, coarse = point["ranking"], point["coarse_ranking"]
    expected = {ranker, point["reranking"]} - {blueprint.NONE}
    cascade = ranker != blueprint.NONE and coarse not in (blueprint.NONE, ranker)
    if cascade:
        expected |= {coarse}
        assert graph.node(str(ranker)).inputs[-1] == coarse
    assert {node.id for node in behind} == expected
    keeps = {node.id: node.keep for node in graph.nodes if node.keep is not None}
    wanted = {point["fusion"]: point["keep.fusion"]} if ranker != blueprint.NONE else {}
    wanted |= {coarse: point["keep.coarse_ranking"]} if cascade else {}
    assert keeps == {who: n for who, n in wanted.items() if n != blueprint.ALL}
    for node in behind:
        stage = "reranking" if node.id == point["reranking"] else "ranking"
        segment = point[f"when.{point['router']}.{stage}"]
        assert (node.when.segments if node.when else (blueprint.ALL,)) == (segment,)
        assert node.when is None or node.when.node == point["router"]


def test_no_version_stands_twice_and_no_coarse_ranker_stands_alone() -> None:
    for chosen in ({"ranking": "dcn", "coarse_ranking": "dcn"}, {"coarse_ranking": "lr"}):
        graph = graph_at(**chosen, keep__coarse_ranking=20)
        rankers = [n.id for n in graph.nodes if specs()[n.agent].role == "ranking"]
        assert rankers == ([chosen["ranking"]] if "ranking" in chosen else [])
        assert all(node.keep is None for node in graph.nodes)


def test_a_cascade_asks_the_ranker_for_few_of_many() -> None:
    graph = graph_at(
        ranking="dcn",
        coarse_ranking="lr",
        reranking="mmr",
        keep__fusion=200,
        keep__coarse_ranking=20,
        when__history_router__ranking="warm",
    )
    assert [node.id for node in graph.nodes][-4:] == ["rrf", "lr", "dcn", "mmr"]
    assert [node.keep for node in graph.nodes][-4:] == [200, 20, None, None]
    for name in ("lr", "dcn"):
        when = graph.node(name).when
        assert when is not None, "what is ordered coarsely is for the ranker"
        assert when.segments == ("warm",)
    assert graph.node("mmr").when is None


@pytest.mark.parametrize(
    "idle",
    [
        {"keep__fusion": 20, "keep__coarse_ranking": 20, "when__history_router__ranking": "cold"},
        {"reranking": "mmr", "keep__fusion": 20},
        {"ranking": "dcn", "when__activity_router__ranking": "heavy", "keep__coarse_ranking": 20},
        {"ranking": "dcn", "when__history_router__reranking": "warm"},
    ],
)
def test_what_cannot_act_at_a_point_changes_nothing(idle: dict[str, Value]) -> None:
    standing = {n: v for n, v in idle.items() if "__" not in n}
    assert graph_at(**idle).digest() == graph_at(**standing).digest()


def test_the_first_value_of_every_choice_is_the_plainest() -> None:
    first = {
        p.name: p.values[0]
        for p in blueprint.space(coarse_too())
        if isinstance(p, Choice) and p.name.partition(".")[0] not in specs()
    }
    plainest = blueprint.at({**EVERYBODY, **first}, coarse_too())
    assert plainest == blueprint.at(EVERYBODY, coarse_too())
    graph = blueprint.graph_of(plainest, coarse_too(), VERSIONS)
    assert {coarse_too()[node.agent].role for node in graph.nodes} == {"retrieval", "fusion"}
    assert all(node.when is None and node.keep is None for node in graph.nodes)


def test_with_one_ranker_there_is_no_cascade_to_choose_and_without_any_nothing_to_keep() -> None:
    few = {n: s for n, s in specs().items() if s.role != "ranking" or n == "dcn"}
    names = {parameter.name for parameter in blueprint.space(few)}
    assert "keep.fusion" in names
    assert not {"coarse_ranking", "keep.coarse_ranking"} & names
    none = {parameter.name for parameter in blueprint.space({**few, "dcn": specs()["mmr"]})}
    assert not {n for n in none if n.startswith("keep.") or n.endswith(".ranking")}
    quick = {**few, "quick": coarse_too()["quick"]}
    (choice,) = [p for p in blueprint.space(quick) if p.name == "coarse_ranking"]
    assert isinstance(choice, Choice)
    assert choice.values == (blueprint.NONE, "quick", "dcn")


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


def test_a_ranker_for_the_common_path_and_a_cascade_are_among_the_baselines() -> None:
    plans = [blueprint.at(p, specs()) for p in blueprint.given_points(specs(), {})]
    for plan in plans:
        validate(blueprint.graph_of(plan, specs(), VERSIONS), specs())
    ranker = next(plan.ranker for plan in plans if plan.ranker)
    assert [plan.only for plan in plans if plan.only] == [{ranker: "warm"}]
    (cascade,) = [plan for plan in plans if plan.coarse]
    assert cascade.coarse != cascade.ranker
    assert cascade.keep == {cascade.fusion: 200, cascade.coarse: 50}


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
