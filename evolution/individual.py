"""Individual evolution: single agents change, the graph stands still.

Retrievers, rankers, re-rankers, and fusion and routing agents that learn are searched here, one
after the other, each on its inner reward; who wins is decided by the blended reward on users that
no search saw. Fusion and routing by settings alone decide for the whole system and are searched in
compositional cycles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from agenticrs.agents import catalogue
from agenticrs.agents.trial import CompositionResult, TrialResult, evaluate_version
from agenticrs.evolution import blueprint, stages, trial_files, upstream
from agenticrs.evolution.arena import Arena, Entry
from agenticrs.evolution.cycle import Cycle, Result, StepFunction, StepName, Waiting
from agenticrs.evolution.evidence import Evidence, Guardrail
from agenticrs.evolution.methods.method import Tried, Values
from agenticrs.evolution.methods.points import tried
from agenticrs.evolution.methods.search import Search
from agenticrs.evolution.rungs import Rungs, resources, stored_id
from agenticrs.evolution.selection import (
    accepted,
    blended,
    compare,
    guardrails,
    membership,
)
from agenticrs.evolution.sensing import sense
from agenticrs.evolution.stages import OUTER
from agenticrs.evolution.upstream import Upstream
from agenticrs.platform.data.splits import search_users
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.job import Failed, Job
from agenticrs.registry import trials
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import AgentSpec, Role
from agenticrs.registry.tables import TrialRow

ROLES: tuple[Role, ...] = (
    "retrieval",
    "fusion",
    "routing",
    "coarse_ranking",
    "ranking",
    "reranking",
)
_SETTINGS_ONLY: tuple[Role, ...] = ("fusion", "routing")
"""Roles whose functional agents are settings of a composition."""
INNER = "ndcg@10"
_OTHER_DATA = 2
"""Earlier snapshots whose best point is tried first on a new one."""


def plan(cycle: Cycle) -> Result:
    """Which agents are searched, by which method, and what it will cost."""
    champions = stages.champion_versions(cycle)
    # Parts come first: what they find is offered to the agents that they are parts of.
    parts = sorted(name for name, spec in cycle.specs.items() if spec.part_of)
    names = parts + [
        name
        for role in ROLES
        for name in blueprint.of_role(cycle.specs, role)
        # A functional one needs a first version to be chosen from; its settings come later.
        if role not in _SETTINGS_ONLY or cycle.specs[name].kind == "model" or name not in champions
    ]
    left_out = {
        name: f"{spec.role} evolves in compositional cycles"
        for name, spec in cycle.specs.items()
        if name not in names
    }
    with session_scope(cycle.services.engine) as session:
        per_trial = {name: trials.mean_seconds(session, name) for name in names}
    known = [seconds for seconds in per_trial.values() if seconds is not None]
    typical = sum(known) / len(known) if known else 5.0
    work = sum(cycle.request.trials * (per_trial[n] or typical) for n in names)
    budget = min(work, cycle.request.seconds)
    cycle.say(
        f"{len(names)} agents x {cycle.request.trials} trials: about {budget:.0f} trial seconds, "
        f"{budget / cycle.runner.parallel:.0f} s on {cycle.runner.parallel} workers"
    )
    return {
        "agents": names,
        "left_out": left_out,
        "methods": {name: cycle.specs[name].space.methods[0] for name in names},
        "estimated_trial_seconds": round(budget, 1),
        "workers": cycle.runner.parallel,
    }


def propose(cycle: Cycle) -> Result:
    """What each search begins with: rewards on the same data, and the best points on other data."""
    begins = {}
    for name in cycle.results["plan"]["agents"]:
        begins[name] = {
            "remembered": len(_remembered(cycle, name)),
            "given": _earlier_best(cycle, name),
        }
    return {"begins": begins}


def evaluate(cycle: Cycle) -> Result:
    """Run the cascade of every agent; fixed order, so that the same seed draws the same."""
    names = cycle.results["plan"]["agents"]
    implementations = catalogue.load_agents()
    shared = _Shared(cycle)
    for place, name in enumerate(names):
        spec = cycle.specs[name]
        cycle.say(f"searching {name}", place / len(names))
        Rungs(cycle, spec, implementations[name], _search(cycle, name), shared.inputs(spec)).run()
    with session_scope(cycle.services.engine) as session:
        rows = list(trials.of_cycle(session, cycle.id))
    states = {name: [row.state for row in rows if row.agent == name] for name in names}
    return {
        "trials": {
            n: {s: found.count(s) for s in sorted(set(found))} for n, found in states.items()
        },
        "seconds": round(sum(row.seconds for row in rows), 2),
    }


def select(cycle: Cycle) -> Result:
    """Compare the best candidate of each agent with its champion, on the confirmation users."""
    champions = stages.champion_versions(cycle)
    serving = stages.champion(cycle)
    graph = Graph.model_validate(serving.graph)
    best = {name: row for name in cycle.results["plan"]["agents"] if (row := _best(cycle, name))}
    before = _champions_measured(cycle, [name for name in best if name in champions], champions)
    outer = _outer(cycle, graph, {n: r for n, r in best.items() if n in graph.agents()})
    verdicts = []
    for name, row in best.items():
        if name in before:
            verdicts.append(_verdict(cycle, row, before[name], outer.get(name), outer.get("")))
    kept = accepted(
        [v["blended"]["p_value"] for v in verdicts],
        [v["blended"]["mean"] for v in verdicts],
        cycle.services.settings.alpha,
    )
    for verdict, is_better in zip(verdicts, kept, strict=True):
        safe = all(g["passed"] for g in verdict["guardrails"])
        verdict["accepted"] = is_better and safe
        cycle.say(
            f"{verdict['agent']}: {verdict['blended']['mean']:+.1%} blended, "
            + ("accepted" if verdict["accepted"] else "champion stays")
        )
    new = [name for name in best if name not in champions]
    return {"verdicts": verdicts, "first_versions": {n: best[n].id for n in new}}


def approve(cycle: Cycle) -> Result | Waiting:
    """Publish the winners; by policy they are approved, or a proposal waits for a person."""
    winners = [v for v in cycle.results["select"]["verdicts"] if v["accepted"]]
    numbers = {v["agent"]: stages.publish_version(cycle, v["trial"]).number for v in winners}
    firsts = {
        agent: stages.publish_version(cycle, trial).number
        for agent, trial in cycle.results["select"]["first_versions"].items()
    }
    serving = stages.champion(cycle)
    graph = Graph.model_validate(serving.graph)
    inside = {name: number for name, number in numbers.items() if name in graph.agents()}
    outside = {name: number for name, number in numbers.items() if name not in inside}
    result: Result = {
        "versions": {**numbers, **firsts},
        "outside": {**outside, **firsts},
        "composition": None,
    }
    if not inside:
        return {**result, "decided_by": "policy: nothing that serves has changed"}
    changed = graph
    for name, number in inside.items():
        changed = changed.with_version(name, number)
    evidence = _evidence(cycle, graph, changed)
    stages.mark(cycle, "challenger", inside)
    row = stages.publish_composition(
        cycle, changed, {"reward": evidence.reward.after.mean}, parent=serving.number
    )
    result["composition"] = row.number
    result["evidence"] = evidence.model_dump(mode="json")
    if not all(guardrail.passed for guardrail in evidence.guardrails):
        return {**result, "composition": None, "decided_by": "guardrails: together they fail"}
    if cycle.services.settings.auto_approve_agents:
        return {**result, "decided_by": "policy: agent versions are approved automatically"}
    title = f"New versions of {', '.join(sorted(inside))}"
    result["proposal"] = stages.file_proposal(cycle, title, serving, row, evidence)
    return Waiting(result)


def promote(cycle: Cycle) -> Result:
    """Move the aliases: of the agents outside the graph, and of the composition if it changed.

    The alias of an agent inside moves with its composition, when that one is promoted: a version
    that a person rejected must never be called champion.
    """
    stages.mark(cycle, "champion", cycle.results["approve"]["outside"])
    return stages.promote_composition(cycle, "evolution", "better agent versions")


STEPS: dict[StepName, StepFunction] = {
    "sense": sense,
    "plan": plan,
    "propose": propose,
    "evaluate": evaluate,
    "select": select,
    "approve": approve,
    "promote": promote,
    "observe": stages.observe,
}


def _search(cycle: Cycle, agent: str) -> Search:
    space = cycle.specs[agent].space
    return Search(
        space.expand(),
        method=cycle.results["plan"]["methods"][agent],
        seed=cycle.request.seed,
        given=[*_offered(cycle, agent), *cycle.results["propose"]["begins"][agent]["given"]],
        remembered=_remembered(cycle, agent),
        beside=space.beside,
        limits=space.limits,
    )


def _remembered(cycle: Cycle, agent: str) -> list[Tried]:
    """Finished trials of this agent in earlier cycles, on the same data and split."""
    with session_scope(cycle.services.engine) as session:
        rows = trials.finished(
            session, agent, fingerprint=cycle.fingerprint, split=cycle.request.split
        )
        return [tried(row) for row in rows if row.cycle_id != cycle.id]


def _earlier_best(cycle: Cycle, agent: str) -> list[dict[str, Any]]:
    """The best points on each of the newest other snapshots: rewards there are not comparable."""
    names = {parameter.name for parameter in cycle.specs[agent].space.expand()}
    with session_scope(cycle.services.engine) as session:
        rows = trials.best_elsewhere(session, agent, cycle.fingerprint, _OTHER_DATA)
        points = [tried(row).values for row in rows]
    return [{n: v for n, v in point.items() if n in names} for point in points]


class _Shared:
    """Upstream candidates in shared memory, computed when an agent first needs them."""

    def __init__(self, cycle: Cycle) -> None:
        self._cycle = cycle
        self._given: dict[tuple[Role, int], Any] = {("retrieval", 0): ()}

    def inputs(self, spec: AgentSpec) -> Any:
        """A reference to what an agent of that role and with so many segments gets."""
        key = (spec.role, len(spec.segments))
        if key not in self._given:
            found = self._alone if spec.role in _SETTINGS_ONLY else self._fused
            self._given[key] = self._cycle.runner.share(found.inputs(spec))
        return self._given[key]

    @cached_property
    def _fused(self) -> Upstream:
        return upstream.measure(self._cycle, self._graph, {})

    @cached_property
    def _alone(self) -> Upstream:
        cycle, champions = self._cycle, stages.champion_versions(self._cycle)
        retrievers = {
            name: champions[name]
            for name in blueprint.of_role(cycle.all_specs, "retrieval")
            if name in champions
        }
        off_path = [n.agent for n in self._graph.nodes if n.when and n.agent in retrievers]
        special = next(iter(sorted(off_path, key=lambda name: name != "popularity")), "popularity")
        return upstream.measure(cycle, self._graph, retrievers, special=special)

    @cached_property
    def _graph(self) -> Graph:
        return Graph.model_validate(stages.champion(self._cycle).graph)


def _offered(cycle: Cycle, whole: str) -> list[dict[str, Any]]:
    """What the parts of an agent found in this cycle, each put into its best known settings."""
    best = max(_remembered(cycle, whole), key=lambda t: t.reward or 0.0, default=None)
    known: Values = best.values if best else {}
    default = catalogue.load_agents()[whole].config_type().model_dump(mode="json")
    space = [parameter.name for parameter in cycle.specs[whole].space.expand()]
    base = {name: known.get(name, default.get(name)) for name in space}
    points = []
    for part, spec in sorted(cycle.specs.items()):
        row = _best(cycle, part) if spec.part_of == whole else None
        if row is not None:
            own = {p.name: row.config[p.name] for p in spec.space.expand() if p.name in space}
            points.append({**base, **own})
    return points


def _best(cycle: Cycle, agent: str) -> TrialRow | None:
    with session_scope(cycle.services.engine) as session:
        rows = [r for r in trials.of_cycle(session, cycle.id, agent) if r.state == "done"]
    return max(rows, key=lambda row: (row.reward or 0.0, -row.number), default=None)


def _champions_measured(
    cycle: Cycle, names: Sequence[str], champions: Mapping[str, int]
) -> dict[str, TrialResult]:
    arena, implementations = Arena(cycle), catalogue.load_agents()
    shared = _Shared(cycle)
    jobs = []
    for name in names:
        inputs = shared.inputs(cycle.specs[name])
        arguments = (cycle.shared_fold, dict(arena.files(name, champions[name])), inputs)
        jobs.append(
            Job(
                f"cycle-{cycle.id}/champion/{name}",
                evaluate_version,
                arguments,
                resources(cycle, implementations[name]),
            )
        )
    measured = {}
    for outcome in cycle.runner.run(jobs):
        name = outcome.key.rsplit("/", 1)[1]
        if isinstance(outcome, Failed):
            raise EvolutionError(f"champion of {name}: {outcome.cause}: {outcome.message}")
        measured[name] = outcome.value
    return measured


def _outer(
    cycle: Cycle, graph: Graph, best: Mapping[str, TrialRow]
) -> dict[str, CompositionResult]:
    """The serving graph as it is (key "") and with each member's best candidate in its place."""
    if not best:
        return {}
    entries = [Entry("serving", graph)]
    entries += [
        Entry(name, graph, {name: stages.files_of_trial(cycle, row)}) for name, row in best.items()
    ]
    answers = Arena(cycle).measure(entries)
    failed = {key: a for key, a in answers.items() if isinstance(a, Failed)}
    if "serving" in failed:
        raise EvolutionError(f"the serving composition: {failed['serving'].message}")
    found = {k: a for k, a in answers.items() if not isinstance(a, Failed)}
    return {("" if key == "serving" else key): answer for key, answer in found.items()}


def _verdict(
    cycle: Cycle,
    row: TrialRow,
    champion: TrialResult,
    with_candidate: CompositionResult | None,
    as_it_is: CompositionResult | None,
) -> dict[str, Any]:
    spec, settings = cycle.specs[row.agent], cycle.services.settings
    files = trial_files.read(cycle.trial_folder(row))
    confirm = ~search_users(files.users)
    metric = str(spec.inner_reward)
    inner = (champion.per_user[metric][confirm], files.per_user[metric][confirm])
    outer = None
    weight = 0.0
    if with_candidate is not None and as_it_is is not None:
        outer = (as_it_is.per_user[OUTER][confirm], with_candidate.per_user[OUTER][confirm])
        weight = spec.outer_weight
    pairs = (inner, outer or inner)
    score = blended(
        (pairs[0][0], pairs[1][0]),
        (pairs[0][1], pairs[1][1]),
        weight,
        seed=cycle.request.seed,
    )
    rails: tuple[Guardrail, ...] = ()
    if with_candidate is not None and as_it_is is not None:
        rails = guardrails(
            as_it_is.totals,
            with_candidate.totals,
            latency_limit_ms=settings.latency_limit_ms,
            coverage_floor=settings.coverage_floor,
        )
    seed = cycle.request.seed
    return {
        "agent": row.agent,
        "trial": stored_id(row),
        "number": row.number,
        "weight": weight,
        "inner": compare(metric, *inner, seed=seed).model_dump(mode="json"),
        "outer": compare(OUTER, *outer, seed=seed).model_dump(mode="json") if outer else None,
        "blended": score.model_dump(mode="json"),
        "guardrails": [rail.model_dump(mode="json") for rail in rails],
        "users": int(confirm.sum()),
        "seconds": cycle.spent_seconds(row.agent),
    }


def _evidence(cycle: Cycle, before: Graph, after: Graph) -> Evidence:
    answers = Arena(cycle).measure([Entry("serving", before), Entry("together", after)])
    return stages.evidence_of(
        cycle,
        answers,
        ("serving", "together"),
        weight=max(
            cycle.specs[name].outer_weight for name in after.agents() if name in cycle.specs
        ),
        reason="agent versions that beat their champions on users no search saw",
        members=membership(before, after),
    )
