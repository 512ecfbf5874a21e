"""The space of compositions: from a point of a low-dimensional space to a typed graph.

A blueprint has one shape, wide enough for what teams build by hand: retrievers (one of them alone
for the users of a segment that a router tells apart), a fusion, then perhaps a cascade (a coarse
ranker that prunes, a ranker) and a re-ranker, each for everybody or for one segment alone. Which
agents stand there, how many candidates they hand on, and with which fusion weights and routing
thresholds, is the decision space.
Pure: knows specs and names, not versions' files or rewards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
ALL = "all"
KEPT: Mapping[str, tuple[int, ...]] = {"fusion": (20, 50, 200), "coarse_ranking": (20, 50)}
"""How many candidates a stage may hand to the next ranker, instead of as many as usual."""
LEAST_WEIGHT = 0.1
"""A retriever with a smaller fusion weight is left out: it would cost time and decide nothing."""


@dataclass(frozen=True)
class Blueprint:
    """Who stands where, and the configs of the functional agents that are decided with it."""

    retrievers: tuple[str, ...]
    """Those whose lists everybody gets who has no path of their own."""
    fusion: str
    coarse: str | None = None
    """Orders the fusion's candidates so that the ranker gets the best of them."""
    ranker: str | None = None
    reranker: str | None = None
    router: str | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    """Segment of the router -> the one retriever for its users."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Agent behind the fusion -> the segment for whose users alone it acts; the others skip it."""
    keep: Mapping[str, int] = field(default_factory=dict)
    """Agent -> how many candidates it hands on, where not all."""
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Agent -> settings that differ from its defaults."""


def of_role(specs: Mapping[str, AgentSpec], role: Role) -> list[str]:
    """Names of the agents with that role, sorted; parts of other agents are not among them."""
    return sorted(n for n, spec in specs.items() if spec.role == role and not spec.part_of)


def routers(specs: Mapping[str, AgentSpec]) -> list[str]:
    """Who may tell users apart for a composition: routers, the plainest first, and segmenters."""
    return [*_plain_first(specs, "routing"), *of_role(specs, "segmenting")]


def alternatives(names: Sequence[str], rewards: Mapping[str, float]) -> tuple[str, str, str]:
    """Retrievers for the paths of a segmenter: the best alone, the second best, the popular.

    ``names`` are the retrievers, ``rewards`` their inner rewards. Where there are fewer, the best
    stands in.
    """
    ranked = sorted(names, key=lambda name: (-rewards.get(name, float("-inf")), name))
    second = ranked[1] if len(ranked) > 1 else ranked[0]
    return ranked[0], second, "popularity" if "popularity" in names else ranked[-1]


def plain(specs: Mapping[str, AgentSpec], role: Role) -> str:
    """The agent of that role to begin with: one that learns nothing, if there is one.

    Raises EvolutionError when no agent has the role.
    """
    names = of_role(specs, role)
    if not names:
        raise EvolutionError(
            f"no agent with role {role} is admitted", hint="run `agenticrs agents admit --all`"
        )
    return _plain_first(specs, role)[0]


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


def stages(specs: Mapping[str, AgentSpec]) -> dict[str, list[str]]:
    """What may follow the fusion, in that order: the stage, and who may stand there.

    A coarse ranker has the role ``coarse_ranking``, or is a second ranker; there is none without a
    ranker behind it.
    """
    rankers = of_role(specs, "ranking")
    coarse = [*of_role(specs, "coarse_ranking"), *rankers] if rankers else []
    found = {
        "coarse_ranking": coarse if len(coarse) > 1 else [],
        "ranking": rankers,
        "reranking": of_role(specs, "reranking"),
    }
    return {stage: names for stage, names in found.items() if names}


def space(specs: Mapping[str, AgentSpec]) -> tuple[ConcreteParameter, ...]:
    """The decision space of a composition over the given agents.

    ``weight.<retriever>``: membership, and its weight in a fusion that has weights. ``fusion``,
    ``router``: which one, where there are several. ``coarse_ranking``, ``ranking``, ``reranking``:
    who stands there, if anybody. ``keep.fusion``, ``keep.coarse_ranking``: how many candidates go
    from there to the next ranker. ``path.<router>.<segment>``: the retriever for the users of a
    segment (for all segments but the last, which takes the common path).
    ``when.<router>.ranking``, ``when.<router>.reranking``: the segment whose users alone it is for.
    ``<agent>.<setting>``: settings of functional fusion and routing agents; those that learn stand
    as their champions have learnt. Of all choices but settings the first value is the plainest.
    """
    retrievers, behind = of_role(specs, "retrieval"), stages(specs)
    fusions, telling = _plain_first(specs, "fusion"), routers(specs)
    parameters: list[ConcreteParameter] = [
        FloatRange(name=f"weight.{name}", low=0.0, high=1.0) for name in retrievers
    ]
    if len(fusions) > 1:
        parameters.append(Choice(name="fusion", values=tuple(fusions)))
    parameters += [Choice(name=stage, values=(NONE, *names)) for stage, names in behind.items()]
    pruning = {"fusion": "ranking", "coarse_ranking": "coarse_ranking"}
    parameters += [
        Choice(name=f"keep.{stage}", values=(ALL, *KEPT[stage]))
        for stage, where in pruning.items()
        if where in behind
    ]
    if len(telling) > 1:
        parameters.append(Choice(name="router", values=tuple(telling)))
    for router in telling:
        segments = specs[router].segments
        parameters += [
            Choice(name=f"path.{router}.{segment}", values=(NONE, *retrievers))
            for segment in segments[:-1]
        ]
        parameters += [
            Choice(name=f"when.{router}.{stage}", values=(ALL, *segments))
            for stage in ("ranking", "reranking")
            if stage in behind
        ]
    for name in (*fusions, *telling):
        if specs[name].kind == "functional":
            parameters += [
                parameter.model_copy(update={"name": f"{name}.{parameter.name}"})
                for parameter in specs[name].space.expand()
            ]
    return tuple(parameters)


def at(point: Mapping[str, Value], specs: Mapping[str, AgentSpec]) -> Blueprint:
    """The blueprint at a point of ``space``; raises EvolutionError when no retriever is left.

    What cannot act has no effect: a coarse ranker without another ranker behind it, a condition or
    a number to keep of one who does not take part, a path or condition of another router.
    """
    weights = {name: float(value) for name, value in _below(point, "weight").items()}
    members = tuple(
        name for name in of_role(specs, "retrieval") if weights.get(name, 1.0) >= LEAST_WEIGHT
    )
    if not members:
        raise EvolutionError("every retriever has a weight below the least one")
    fusion = str(point.get("fusion", plain(specs, "fusion")))
    cast = _cast(point, specs)
    router, paths, only = _routing(point, specs, members, cast)
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
        coarse=cast.get("coarse_ranking"),
        ranker=cast.get("ranking"),
        reranker=cast.get("reranking"),
        router=router,
        paths=paths,
        only=only,
        keep=_keep(point, fusion, cast),
        configs=configs,
    )


def given_points(
    specs: Mapping[str, AgentSpec], rewards: Mapping[str, float]
) -> list[dict[str, Value]]:
    """Points worth trying before any search: the best retriever alone, and everybody together.

    Everybody together is tried with every fusion, then with a ranker for the common path alone,
    with a cascade, and with a segmenter on the paths that it learnt. ``rewards`` are the
    retrievers' inner rewards; these are the strong simple baselines that a searched composition has
    to beat.
    """
    retrievers, behind = of_role(specs, "retrieval"), stages(specs)
    fusions = _plain_first(specs, "fusion")
    best = max(retrievers, key=lambda name: rewards.get(name, float("-inf")))
    plainest: dict[str, Value] = {
        parameter.name: parameter.values[0]
        for parameter in space(specs)
        if isinstance(parameter, Choice) and parameter.name.partition(".")[0] not in specs
    }

    def point(members: Collection[str], **chosen: Value) -> dict[str, Value]:
        return {**plainest, **{f"weight.{n}": float(n in members) for n in retrievers}, **chosen}

    rankers = behind.get("ranking", [])[:1]
    points = []
    for fusion, members in [(fusions[0], [best]), *((name, retrievers) for name in fusions)]:
        which: dict[str, Value] = {"fusion": fusion} if len(fusions) > 1 else {}
        points += [point(members, **which, ranking=ranker) for ranker in (NONE, *rankers)]
    for ranker in rankers:
        if telling := routers(specs):
            common = {f"when.{telling[0]}.ranking": specs[telling[0]].segments[-1]}
            points.append(point(retrievers, ranking=ranker, **common))
        for coarse in [name for name in behind.get("coarse_ranking", []) if name != ranker][:1]:
            pruned = {f"keep.{stage}": numbers[-1] for stage, numbers in KEPT.items()}
            points.append(point(retrievers, ranking=ranker, coarse_ranking=coarse, **pruned))
    for segmenter in of_role(specs, "segmenting"):
        # The paths that it has learnt to choose among.
        taken = zip(specs[segmenter].segments, alternatives(retrievers, rewards), strict=False)
        chosen: dict[str, Value] = {f"path.{segmenter}.{path}": name for path, name in taken}
        which = {"router": segmenter} if len(routers(specs)) > 1 else {}
        points.append(point(retrievers, **which, **chosen))
    return points


def graph_of(
    blueprint: Blueprint, specs: Mapping[str, AgentSpec], versions: Mapping[str, int]
) -> Graph:
    """The typed graph of a blueprint; ``versions`` gives the version of every member."""
    nodes: list[Node] = []
    router, paths = blueprint.router, blueprint.paths

    def add(agent: str, upstream: Sequence[str], only: Sequence[str] | None = None) -> str:
        when = None
        if router is not None and only is not None:
            when = Condition(node=router, segments=tuple(only))
        nodes.append(
            Node(
                id=agent,
                agent=agent,
                version=versions[agent],
                inputs=_inputs(specs[agent], upstream),
                when=when,
                keep=blueprint.keep.get(agent),
            )
        )
        return agent

    if router is not None:
        add(router, ())
    everybody = specs[router].segments if router is not None else ()
    sources = []
    for name in sorted({*blueprint.retrievers, *paths.values()}):
        common = name in blueprint.retrievers
        served = tuple(s for s in everybody if paths.get(s, name if common else "") == name)
        sources.append(add(name, (), None if served == everybody else served))
    last = add(blueprint.fusion, sources)
    for agent in (blueprint.coarse, blueprint.ranker, blueprint.reranker):
        if agent is not None:
            segment = blueprint.only.get(agent)
            last = add(agent, (last,), None if segment is None else (segment,))
    return Graph(nodes=tuple(nodes), output=last)


def _plain_first(specs: Mapping[str, AgentSpec], role: Role) -> list[str]:
    """Names of the agents with that role, those that learn nothing first."""
    return sorted(of_role(specs, role), key=lambda name: specs[name].kind != "functional")


def _cast(point: Mapping[str, Value], specs: Mapping[str, AgentSpec]) -> dict[str, str]:
    """Stage behind the fusion -> who stands there. Nobody stands at two of them."""
    cast = {s: str(point[s]) for s in stages(specs) if point.get(s, NONE) != NONE}
    if cast.get("ranking") in (None, cast.get("coarse_ranking")):
        cast.pop("coarse_ranking", None)
    return cast


def _keep(point: Mapping[str, Value], fusion: str, cast: Mapping[str, str]) -> dict[str, int]:
    """Who hands on fewer candidates than usual to a ranker that follows, and how many."""
    pruning = {"fusion": fusion} if "ranking" in cast else {}
    if "coarse_ranking" in cast:
        pruning["coarse_ranking"] = cast["coarse_ranking"]
    wanted = {agent: point.get(f"keep.{stage}", ALL) for stage, agent in pruning.items()}
    return {agent: int(number) for agent, number in wanted.items() if number != ALL}


def _routing(
    point: Mapping[str, Value],
    specs: Mapping[str, AgentSpec],
    members: tuple[str, ...],
    cast: Mapping[str, str],
) -> tuple[str | None, dict[str, str], dict[str, str]]:
    """The router, the paths of its segments, and who acts for one of them only.

    No router when nobody leaves the common path and everybody acts for all.
    """
    telling = routers(specs)
    if not telling:
        return None, {}, {}
    router = str(point.get("router", telling[0]))
    paths = {
        segment: str(retriever)
        for segment, retriever in _below(point, f"path.{router}").items()
        if retriever != NONE and members != (retriever,)
    }
    segments = _below(point, f"when.{router}")
    # What the coarse ranker prepares is for the ranker.
    when = {**segments, "coarse_ranking": segments.get("ranking", ALL)}
    only = {who: str(when[s]) for s, who in cast.items() if when.get(s, ALL) != ALL}
    return (router, paths, only) if paths or only else (None, {}, {})


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
