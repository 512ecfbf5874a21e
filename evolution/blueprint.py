"""The space of compositions: from a point of a low-dimensional space to a typed graph.

A blueprint has one shape, wide enough for what teams build by hand: retrievers (some of them only
for the users that a router finds cold), one fusion, then perhaps a ranker and a re-ranker. Which
agents stand there, and with which fusion weights and routing threshold, is the decision space.
Pure: knows specs and names, not versions' files or rewards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agenticrs.evolution.search import Value
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.graph import SOURCE, Condition, Graph, Node
from agenticrs.registry.spec import (
    AgentSpec,
    Choice,
    ConcreteParameter,
    FloatRange,
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
    fusion: str
    ranker: str | None = None
    reranker: str | None = None
    router: str | None = None
    cold: str | None = None
    """The retriever for users that the router finds cold (needs a router)."""
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Agent -> settings that differ from its defaults."""


def of_role(specs: Mapping[str, AgentSpec], role: Role) -> list[str]:
    """Names of the agents with that role, sorted."""
    return sorted(name for name, spec in specs.items() if spec.role == role)


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
    routers = of_role(specs, "routing")
    routed = bool(routers) and "popularity" in retrievers and warm != "popularity"
    return Blueprint(
        retrievers=(warm,),
        fusion=fusions[0],
        router=routers[0] if routed else None,
        cold="popularity" if routed else None,
    )


def space(specs: Mapping[str, AgentSpec]) -> tuple[ConcreteParameter, ...]:
    """The decision space of a composition over the given agents."""
    retrievers = of_role(specs, "retrieval")
    fusion = _only(specs, "fusion")
    parameters: list[ConcreteParameter] = [
        _renamed(parameter, f"{fusion}.{parameter.name}")
        for parameter in specs[fusion].space.expand(retrievers)
    ]
    if not any(p.name.startswith(f"{fusion}.weights.") for p in parameters):
        parameters += [
            FloatRange(name=f"{fusion}.weights.{name}", low=0.0, high=1.0) for name in retrievers
        ]
    for role in ("ranking", "reranking"):
        names = of_role(specs, role)
        if names:
            parameters.append(Choice(name=role, values=(NONE, *names)))
    routers = of_role(specs, "routing")
    if routers:
        parameters.append(Choice(name="cold", values=(NONE, *retrievers)))
        parameters += [
            _renamed(parameter, f"{routers[0]}.{parameter.name}")
            for parameter in specs[routers[0]].space.expand()
        ]
    return tuple(parameters)


def at(point: Mapping[str, Value], specs: Mapping[str, AgentSpec]) -> Blueprint:
    """The blueprint at a point of ``space``; raises EvolutionError when no retriever is left."""
    fusion = _only(specs, "fusion")
    configs: dict[str, dict[str, Any]] = {}
    for name, value in point.items():
        agent, _, setting = name.partition(".")
        if setting:
            configs.setdefault(agent, {})[setting] = value
    settings = nested(configs.get(fusion, {}))
    weights: dict[str, float] = settings.get("weights", {})
    members = tuple(
        name for name in of_role(specs, "retrieval") if weights.get(name, 1.0) >= LEAST_WEIGHT
    )
    if not members:
        raise EvolutionError("every retriever has a weight below the least one")
    cold = str(point.get("cold", NONE))
    if members == (cold,):
        cold = NONE  # everybody takes that path anyway: nothing is left to route
    router = of_role(specs, "routing")[0] if cold != NONE else None
    kept = {name: weights[name] for name in {*members, cold} & set(weights)}
    if cold in kept:
        kept[cold] = max(kept[cold], LEAST_WEIGHT)
    chosen: dict[str, Mapping[str, Any]] = {fusion: {**settings, "weights": kept}}
    if router is not None:
        chosen[router] = nested(configs.get(router, {}))
    return Blueprint(
        retrievers=members,
        fusion=fusion,
        ranker=_named(point.get("ranking")),
        reranker=_named(point.get("reranking")),
        router=router,
        cold=cold if router else None,
        configs=chosen,
    )


def given_points(
    specs: Mapping[str, AgentSpec], rewards: Mapping[str, float]
) -> list[dict[str, Value]]:
    """Points worth trying before any search: the best retriever alone, and everybody together.

    ``rewards`` are the retrievers' inner rewards; they are the strong simple baselines that a
    searched composition has to beat.
    """
    fusion = _only(specs, "fusion")
    retrievers = of_role(specs, "retrieval")
    best = max(retrievers, key=lambda name: rewards.get(name, float("-inf")))
    rankers, routers = of_role(specs, "ranking"), of_role(specs, "routing")
    tails: list[dict[str, Value]] = [{"ranking": NONE}]
    if rankers:
        tails.append({"ranking": rankers[0]})
    points = []
    for members in ({best}, set(retrievers)):
        weights = {f"{fusion}.weights.{n}": float(n in members) for n in retrievers}
        for tail in tails:
            point: dict[str, Value] = {**weights, "reranking": NONE, **tail}
            if routers:
                point["cold"] = NONE
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

    router, cold = blueprint.router, blueprint.cold
    if router is not None:
        add(router, ())
        cold_segment, *_, warm_segment = specs[router].segments
    sources = []
    for name in sorted({*blueprint.retrievers, *([cold] if cold else [])}):
        when = None
        if router is not None and not (name == cold and name in blueprint.retrievers):
            when = Condition(node=router, segment=cold_segment if name == cold else warm_segment)
        sources.append(add(name, (), when))
    last = add(blueprint.fusion, sources)
    for agent in (blueprint.ranker, blueprint.reranker):
        if agent is not None:
            last = add(agent, (last,))
    return Graph(nodes=tuple(nodes), output=last)


def _inputs(spec: AgentSpec, upstream: Sequence[str]) -> tuple[str, ...]:
    """Names for the ports in order; the last port of a variadic agent takes all that is left."""
    left = list(upstream)
    inputs: list[str] = []
    for port in spec.loop.inputs:
        inputs.append(SOURCE if port is Port.USERS else left.pop(0))
    return (*inputs, *left) if spec.loop.variadic else tuple(inputs)


def _renamed(parameter: ConcreteParameter, name: str) -> ConcreteParameter:
    return parameter.model_copy(update={"name": name})


def _only(specs: Mapping[str, AgentSpec], role: Role) -> str:
    names = of_role(specs, role)
    if not names:
        raise EvolutionError(f"no agent with role {role} is admitted")
    return names[0]


def _named(value: Value | None) -> str | None:
    return None if value is None or value == NONE else str(value)
