"""The space of compositions: from a point of a low-dimensional space to a typed graph.

A blueprint has one shape, wide enough for what teams build by hand: retrievers (one of them alone
for the users of a segment that a router tells apart), a fusion, then perhaps a ranker and a
re-ranker. Which agents stand there, and with which fusion weights and routing thresholds, is the
decision space.
Pure: knows specs and names, not versions' files or rewards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agenticrs.evolution.methods.method import Value
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.graph import SOURCE, Condition, Graph, Node
from agenticrs.registry.spec import (
    AgentSpec,
    Choice,
    ConcreteParameter,
    FloatRange,
    PerInput,
    Port,
    Role,
    nested,
)

NONE = "none"
LEAST_WEIGHT = 0.1
"""A retriever with a smaller fusion weight is left out: it would cost time and decide nothing."""


@dataclass(frozen=True)
class Blueprint:
    """Who stands where, and the configs of the functional agents that are decided with it."""

    retrievers: tuple[str, ...]
    """Those whose lists everybody gets who has no path of their own."""
    fusion: str
    ranker: str | None = None
    reranker: str | None = None
    router: str | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    """Segment of the router -> the one retriever for its users."""
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Agent -> settings that differ from its defaults."""


def of_role(specs: Mapping[str, AgentSpec], role: Role) -> list[str]:
    """Names of the agents with that role, sorted; parts of other agents are not among them."""
    return sorted(n for n, spec in specs.items() if spec.role == role and not spec.part_of)


def plain(specs: Mapping[str, AgentSpec], role: Role) -> str:
    """The agent of that role to begin with: one that learns nothing, if there is one.

    Raises EvolutionError when no agent has the role.
    """
    names = of_role(specs, role)
    if not names:
        raise EvolutionError(
            f"no agent with role {role} is admitted", hint="run `agenticrs agents admit --all`"
        )
    return min(names, key=lambda name: specs[name].kind != "functional")


def starter(specs: Mapping[str, AgentSpec]) -> Blueprint:
    """What most teams begin with: one neighbourhood model, popularity for the cold, one fusion.

    Raises EvolutionError when there is no retriever or no fusion agent to build with.
    """
    retrievers, fusions = of_role(specs, "retrieval"), of_role(specs, "fusion")
    if not retrievers or not fusions:
        raise EvolutionError(
            "a composition needs at least one retriever and one fusion agent",
            hint="run `agenticrs agents admit --all`",
        )
    warm = "itemknn" if "itemknn" in retrievers else retrievers[0]
    routed = of_role(specs, "routing") and "popularity" in retrievers and warm != "popularity"
    router = plain(specs, "routing") if routed else None
    return Blueprint(
        retrievers=(warm,),
        fusion=plain(specs, "fusion"),
        router=router,
        paths={specs[router].segments[0]: "popularity"} if router else {},
    )


def space(specs: Mapping[str, AgentSpec]) -> tuple[ConcreteParameter, ...]:
    """The decision space of a composition over the given agents.

    ``weight.<retriever>``: membership, and its weight in a fusion that has weights. ``fusion``,
    ``router``: which one, where there are several. ``path.<router>.<segment>``: the retriever for
    the users of a segment (for all segments but the last, which takes the common path).
    ``<agent>.<setting>``: settings of functional fusion and routing agents; those that learn stand
    as their champions have learnt.
    """
    retrievers = of_role(specs, "retrieval")
    plain(specs, "fusion")
    parameters: list[ConcreteParameter] = [
        FloatRange(name=f"weight.{name}", low=0.0, high=1.0) for name in retrievers
    ]
    if len(fusions := of_role(specs, "fusion")) > 1:
        parameters.append(Choice(name="fusion", values=tuple(fusions)))
    for role in ("ranking", "reranking"):
        if names := of_role(specs, role):
            parameters.append(Choice(name=role, values=(NONE, *names)))
    if len(routers := of_role(specs, "routing")) > 1:
        parameters.append(Choice(name="router", values=tuple(routers)))
    for router in routers:
        for segment in specs[router].segments[:-1]:
            parameters.append(Choice(name=f"path.{router}.{segment}", values=(NONE, *retrievers)))
    for name in (*fusions, *routers):
        if specs[name].kind == "functional":
            parameters += [
                parameter.model_copy(update={"name": f"{name}.{parameter.name}"})
                for parameter in specs[name].space.expand()
            ]
    return tuple(parameters)


def at(point: Mapping[str, Value], specs: Mapping[str, AgentSpec]) -> Blueprint:
    """The blueprint at a point of ``space``; raises EvolutionError when no retriever is left."""
    weights = {name: float(value) for name, value in _below(point, "weight").items()}
    members = tuple(
        name for name in of_role(specs, "retrieval") if weights.get(name, 1.0) >= LEAST_WEIGHT
    )
    if not members:
        raise EvolutionError("every retriever has a weight below the least one")
    fusion = str(point.get("fusion", plain(specs, "fusion")))
    router, paths = _routing(point, specs, members)
    configs: dict[str, Mapping[str, Any]] = {}
    for name in (fusion, router):
        if name is not None and specs[name].kind == "functional":
            configs[name] = nested(_below(point, name))
    if any(isinstance(p, PerInput) and p.name == "weights" for p in specs[fusion].space.parameters):
        voting = {*members, *paths.values()} & set(weights)
        kept = {name: max(weights[name], LEAST_WEIGHT) for name in voting}
        configs[fusion] = {**configs.get(fusion, {}), "weights": kept}
    return Blueprint(
        retrievers=members,
        fusion=fusion,
        ranker=_named(point.get("ranking")),
        reranker=_named(point.get("reranking")),
        router=router,
        paths=paths,
        configs=configs,
    )


def given_points(
    specs: Mapping[str, AgentSpec], rewards: Mapping[str, float]
) -> list[dict[str, Value]]:
    """Points worth trying before any search: the best retriever alone, and everybody together.

    Everybody together is tried with every fusion. ``rewards`` are the retrievers' inner rewards;
    these are the strong simple baselines that a searched composition has to beat.
    """
    retrievers, fusions = of_role(specs, "retrieval"), of_role(specs, "fusion")
    first = plain(specs, "fusion")
    best = max(retrievers, key=lambda name: rewards.get(name, float("-inf")))
    rankers = of_role(specs, "ranking")
    nobody_routed: dict[str, Value] = {
        parameter.name: NONE for parameter in space(specs) if parameter.name.startswith("path.")
    }
    casts = [(first, {best}), (first, set(retrievers))]
    casts += [(fusion, set(retrievers)) for fusion in fusions if fusion != first]
    points = []
    for fusion, members in casts:
        weights = {f"weight.{name}": float(name in members) for name in retrievers}
        for ranker in (NONE, *rankers[:1]):
            point: dict[str, Value] = {**weights, **nobody_routed, "reranking": NONE}
            point["ranking"] = ranker
            if len(fusions) > 1:
                point["fusion"] = fusion
            points.append(point)
    return points


def graph_of(
    blueprint: Blueprint, specs: Mapping[str, AgentSpec], versions: Mapping[str, int]
) -> Graph:
    """The typed graph of a blueprint; ``versions`` gives the version of every member."""
    nodes: list[Node] = []

    def add(agent: str, upstream: Sequence[str], when: Condition | None = None) -> str:
        nodes.append(
            Node(
                id=agent,
                agent=agent,
                version=versions[agent],
                inputs=_inputs(specs[agent], upstream),
                when=when,
            )
        )
        return agent

    router, paths = blueprint.router, blueprint.paths
    if router is not None:
        add(router, ())
    sources = []
    for name in sorted({*blueprint.retrievers, *paths.values()}):
        when = None
        if router is not None:
            everybody = specs[router].segments
            common = name in blueprint.retrievers
            served = tuple(s for s in everybody if paths.get(s, name if common else "") == name)
            when = None if served == everybody else Condition(node=router, segments=served)
        sources.append(add(name, (), when))
    last = add(blueprint.fusion, sources)
    for agent in (blueprint.ranker, blueprint.reranker):
        if agent is not None:
            last = add(agent, (last,))
    return Graph(nodes=tuple(nodes), output=last)


def _routing(
    point: Mapping[str, Value], specs: Mapping[str, AgentSpec], members: tuple[str, ...]
) -> tuple[str | None, dict[str, str]]:
    """The router and the paths of its segments; no router when nobody leaves the common path."""
    routers = of_role(specs, "routing")
    if not routers:
        return None, {}
    router = str(point.get("router", plain(specs, "routing")))
    chosen = {
        segment: str(retriever)
        for segment, retriever in _below(point, f"path.{router}").items()
        if retriever != NONE and members != (retriever,)
    }
    return (router, chosen) if chosen else (None, {})


def _below(point: Mapping[str, Value], head: str) -> dict[str, Value]:
    """The entries ``head.<name>`` of a point, by name."""
    return {
        name.removeprefix(f"{head}."): value
        for name, value in point.items()
        if name.startswith(f"{head}.")
    }


def _inputs(spec: AgentSpec, upstream: Sequence[str]) -> tuple[str, ...]:
    """Names for the ports in order; the last port of a variadic agent takes all that is left."""
    left = list(upstream)
    inputs: list[str] = []
    for port in spec.loop.inputs:
        inputs.append(SOURCE if port is Port.USERS else left.pop(0))
    return (*inputs, *left) if spec.loop.variadic else tuple(inputs)


def _named(value: Value | None) -> str | None:
    return None if value is None or value == NONE else str(value)
