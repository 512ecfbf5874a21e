"""From a composition back to the point of the space of compositions that it lies at.

Many graphs lie in that space, wherever they come from, and some do not. What is read is built again
and compared, so a point that is given is one that stands for exactly this composition. Pure, as the
blueprint is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agenticrs.evolution import blueprint
from agenticrs.evolution.blueprint import LEAST_WEIGHT, NONE
from agenticrs.evolution.methods.method import Value, Values
from agenticrs.evolution.methods.points import flat
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.graph import Graph, Node
from agenticrs.registry.spec import AgentSpec


def point_of(
    graph: Graph,
    specs: Mapping[str, AgentSpec],
    configs: Mapping[str, Mapping[str, Any]],
    defaults: Values,
) -> dict[str, Value] | None:
    """The point of a graph, with a value for every parameter; None where it lies at none.

    ``configs`` are the whole settings of its functional agents. ``defaults`` has a value for every
    parameter, and decides those that cannot act.
    """
    if not set(graph.agents()) <= set(specs):
        return None
    point = {**defaults, **_choices(graph, specs, configs)}
    try:
        plan = blueprint.at(point, specs)
    except EvolutionError:
        return None
    again = blueprint.graph_of(plan, specs, {**dict.fromkeys(specs, 1), **graph.agents()})
    if _by_id(again) != _by_id(graph) or again.output != graph.output:
        return None
    as_set = all(
        _alike(configs.get(name, {}), settings, plan.retrievers)
        for name, settings in plan.configs.items()
    )
    return point if as_set else None


def _alike(has: Mapping[str, Any], asked: Mapping[str, Any], common: Sequence[str]) -> bool:
    """Whether settings are as asked; a weight counts for who is fused with others."""
    weights = has.get("weights") or {}
    for name, weight in asked.get("weights", {}).items():
        if name in common and weights.get(name, 1.0) != weight:
            return False
    return all(has.get(name) == value for name, value in asked.items() if name != "weights")


def _choices(
    graph: Graph, specs: Mapping[str, AgentSpec], configs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Value]:
    """What the graph decides, read node by node; whether that is all of it is seen afterwards."""
    parameters = {parameter.name: parameter for parameter in blueprint.space(specs)}
    nodes = [node for node in graph.order() if node.agent in specs]
    of_role = {
        role: [node for node in nodes if specs[node.agent].role in roles]
        for role, roles in {
            "retrieval": ("retrieval",),
            "fusion": ("fusion",),
            "router": ("routing", "segmenting"),
            "reranking": ("reranking",),
            "ranking": ("coarse_ranking", "ranking"),
        }.items()
    }
    found: dict[str, Value] = {}
    for name in ("fusion", "router"):
        for node in of_role[name][:1]:
            found[name] = node.agent
    stages = dict(zip(("ranking", "coarse_ranking"), reversed(of_role["ranking"]), strict=False))
    stages |= dict(zip(("reranking",), of_role["reranking"], strict=False))
    for stage in ("coarse_ranking", "ranking", "reranking"):
        found[stage] = stages[stage].agent if stage in stages else NONE
    for stage, pruning in {
        **stages,
        **dict(zip(("fusion",), of_role["fusion"], strict=False)),
    }.items():
        found[f"keep.{stage}"] = blueprint.ALL if pruning.keep is None else pruning.keep

    router = of_role["router"][0].agent if of_role["router"] else None
    segments = specs[router].segments if router else ()
    common = _common(of_role["retrieval"], segments)
    weights: Mapping[str, float] = {}
    for node in of_role["fusion"][:1]:
        weights = configs.get(node.agent, {}).get("weights") or {}
    for name in blueprint.of_role(specs, "retrieval"):
        weight = float(weights.get(name, 1.0))
        found[f"weight.{name}"] = max(weight, LEAST_WEIGHT) if name in common else 0.0
    for segment in segments[:-1]:
        serve = {node.agent for node in of_role["retrieval"] if _serves(node, segment)}
        found[f"path.{router}.{segment}"] = NONE if serve == common else min(serve, default=NONE)
    for stage in ("ranking", "reranking"):
        when = stages[stage].when if stage in stages else None
        found[f"when.{router}.{stage}"] = blueprint.ALL if when is None else when.segments[0]
    for name, config in configs.items():
        found |= {f"{name}.{setting}": value for setting, value in flat(config).items()}
    return {name: value for name, value in found.items() if name in parameters}


def _common(retrievers: list[Node], segments: tuple[str, ...]) -> set[str]:
    """Who serves the common path, which is that of the last segment."""
    return {node.agent for node in retrievers if not segments or _serves(node, segments[-1])}


def _serves(node: Node, segment: str) -> bool:
    return node.when is None or segment in node.when.segments


def _by_id(graph: Graph) -> dict[str, Node]:
    return {node.id: node for node in graph.nodes}
