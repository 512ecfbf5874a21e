"""The first cycle of a surface: every agent's default is trained, and a plain composition serves.

Nothing serves yet, so by the default policy nobody has to approve: the alternative is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agenticrs.agents import catalogue
from agenticrs.agents.trial import TrialRequest, TrialResult, run_trial
from agenticrs.evolution import blueprint, stages
from agenticrs.evolution.candidates import upstream
from agenticrs.evolution.candidates.evaluation_cache import Evaluations
from agenticrs.evolution.candidates.examination import healthy
from agenticrs.evolution.candidates.rungs import fail, keep, propose, resources, training_seconds
from agenticrs.evolution.candidates.upstream import Upstream
from agenticrs.evolution.cycle import Cycle, Result, StepFunction, StepName, Waiting
from agenticrs.evolution.outer_reward.arena import Arena, Entry, Files, functional_files
from agenticrs.evolution.sensing import sense
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.job import Job, Succeeded
from agenticrs.registry import promotion, proposals, trials
from agenticrs.registry.spec import Role
from agenticrs.registry.tables import TrialRow

UPSTREAM_FIRST: tuple[tuple[Role, ...], ...] = (
    ("retrieval",),
    ("fusion", "routing", "segmenting"),
    ("ranking", "reranking"),
)
"""Groups of roles: an agent of a later group is measured on what the earlier ones put out."""


def plan(cycle: Cycle) -> Result:
    """All agents once, at their defaults."""
    names = [
        name
        for group in UPSTREAM_FIRST
        for role in group
        for name in blueprint.of_role(cycle.specs, role)
    ]
    starter = blueprint.starter(cycle.specs)
    cycle.say(f"first versions of {len(names)} agents: {', '.join(names)}")
    return {
        "agents": names,
        "starter": {"retrievers": starter.retrievers, "paths": dict(starter.paths)},
        "reason": "nothing serves on this surface yet",
    }


def propose_defaults(cycle: Cycle) -> Result:
    """One candidate for each agent: its default config."""
    implementations = catalogue.load_agents()
    with session_scope(cycle.services.engine) as session:
        present = {row.agent for row in trials.of_cycle(session, cycle.id)}
    for name in cycle.results["plan"]["agents"]:
        if name not in present:
            config = implementations[name].config_type().model_dump(mode="json")
            propose(cycle, agent=name, number=0, method="default", config=config)
    return {"candidates": len(cycle.results["plan"]["agents"])}


def evaluate(cycle: Cycle) -> Result:
    """Train the defaults, group by group; later groups see the starter's fused candidates."""
    for group in UPSTREAM_FIRST:
        with session_scope(cycle.services.engine) as session:
            rows = [
                r
                for r in trials.of_cycle(session, cycle.id)
                if r.state == "proposed" and cycle.specs[r.agent].role in group
            ]
        above = _upstream(cycle) if rows and group != ("retrieval",) else None
        _train(cycle, rows, above)
    with session_scope(cycle.services.engine) as session:
        rows = list(trials.of_cycle(session, cycle.id))
        return {
            "rewards": {row.agent: row.reward for row in rows},
            "failed": {row.agent: row.error for row in rows if row.state == "failed"},
        }


def select(cycle: Cycle) -> Result:
    """Every default that trained becomes version 1; the starter must be among them."""
    with session_scope(cycle.services.engine) as session:
        done = {r.agent: r.id for r in trials.of_cycle(session, cycle.id) if r.state == "done"}
    graph = blueprint.graph_of(
        blueprint.starter(cycle.specs), cycle.specs, dict.fromkeys(cycle.specs, 1)
    )
    missing = sorted(set(graph.agents()) - set(done))
    if missing:
        errors = cycle.results["evaluate"]["failed"]
        raise EvolutionError(
            f"the first composition needs {', '.join(missing)}, which failed: "
            + "; ".join(errors.get(name, "") for name in missing)
        )
    return {"trials": done}


def approve(cycle: Cycle) -> Result | Waiting:
    """Publish the versions and the first composition; a person is needed only by policy."""
    numbers = {
        agent: stages.publish_version(cycle, trial_id).number
        for agent, trial_id in cycle.results["select"]["trials"].items()
    }
    graph = blueprint.graph_of(blueprint.starter(cycle.specs), cycle.specs, numbers)
    found = Arena(cycle).measure_one(Entry("starter", graph))
    row = stages.publish_composition(cycle, graph, found.totals, parent=None)
    result: Result = {"versions": numbers, "composition": row.number}
    ruling = stages.ruling(cycle, None, row, None)
    if ruling.approvals == 0:
        return {**result, "decided_by": f"policy {ruling.version}: {ruling.why}"}
    result["proposal"] = stages.file_proposal(cycle, "The first composition", None, row, None)
    return Waiting(result)


def promote(cycle: Cycle) -> Result | Waiting:
    """Let the first composition serve, and mark the other agents' first versions."""
    approved = cycle.results["approve"]
    if "proposal" in approved:
        with session_scope(cycle.services.engine) as session:
            if proposals.get(session, approved["proposal"]).state not in ("approved", "promoted"):
                return {"composition": None}
        stages.mark(cycle, "champion", approved["versions"])
        return stages.promote_composition(cycle, "evolution", "first composition")
    stages.mark(cycle, "champion", approved["versions"])
    row = promotion.promote(
        cycle.services.engine,
        cycle.services.tracking,
        surface=cycle.surface,
        after=approved["composition"],
        who="evolution",
        reason=f"first composition, cycle {cycle.id}",
        cause="bootstrap",
        key=f"cycle-{cycle.id}",
    )
    cycle.say(f"composition {row.after} serves")
    return {"composition": row.after}


STEPS: dict[StepName, StepFunction] = {
    "sense": sense,
    "plan": plan,
    "propose": propose_defaults,
    "evaluate": evaluate,
    "select": select,
    "approve": approve,
    "promote": promote,
    "observe": stages.observe,
}


def _train(cycle: Cycle, rows: Sequence[TrialRow], above: Upstream | None) -> None:
    implementations = catalogue.load_agents()
    rows = _unpaid(cycle, _healthy(cycle, rows, above), above)
    by_key = {f"cycle-{cycle.id}/{row.agent}/0/full": row for row in rows}
    jobs = [
        Job(
            key,
            run_trial,
            (
                cycle.shared_fold,
                TrialRequest(
                    agent=row.agent,
                    config=row.config,
                    seed=row.seed,
                    seconds=training_seconds(cycle),
                    checkpoint=str(cycle.checkpoint(row)),
                ),
                above.inputs(cycle.specs[row.agent]) if above else (),
            ),
            resources(cycle, implementations[row.agent]),
        )
        for key, row in by_key.items()
    ]
    for outcome in cycle.runner.run(jobs):
        row = by_key[outcome.key]
        if isinstance(outcome, Succeeded):
            result: TrialResult = outcome.value
            reward = keep(cycle, cycle.specs[row.agent], row, result, outcome.seconds)
            cycle.say(f"{row.agent} default: {reward:.4f} in {outcome.seconds:.1f} s")
        else:
            fail(cycle, row, f"{outcome.cause}: {outcome.message}", outcome.seconds)
            cycle.say(f"{row.agent} failed: {outcome.message}")
        cycle.forget_checkpoint(row)


def _healthy(cycle: Cycle, rows: Sequence[TrialRow], above: Upstream | None) -> list[TrialRow]:
    """The defaults that may be trained; agents of other packages are examined first."""
    implementations, well = catalogue.load_agents(), list[TrialRow]()
    for row in rows:
        spec = cycle.specs[row.agent]
        inputs = above.inputs(spec) if above else ()
        well += healthy(cycle, spec, implementations[row.agent], [row], inputs)
    return well


def _unpaid(cycle: Cycle, rows: Sequence[TrialRow], above: Upstream | None) -> Sequence[TrialRow]:
    """The defaults that have to be trained; of the others an earlier trial had the same content."""
    implementations, places = catalogue.load_agents(), dict[Any, Evaluations]()
    left = []
    for row in rows:
        spec, implementation = cycle.specs[row.agent], implementations[row.agent]
        inputs = above.inputs(spec) if above else ()
        asked = resources(cycle, implementation)
        place = (spec.role, len(spec.segments), asked)  # who gets the same lists, and as much
        if place not in places:
            places[place] = Evaluations.of(cycle, spec, implementation, inputs, asked)
        known = replace(places[place], spec=spec, implementation=implementation)
        named = known.named(row)
        if not known.take_full(named):
            left.append(named)
    return left


def _upstream(cycle: Cycle) -> Upstream:
    """The lists of all retrievers that trained, and the starter's fused ones."""
    start = blueprint.starter(cycle.specs)
    common = blueprint.Blueprint(retrievers=start.retrievers, fusion=start.fusion)
    fused = blueprint.graph_of(common, cycle.specs, dict.fromkeys(cycle.specs, 1))
    with session_scope(cycle.services.engine) as session:
        done = {row.agent for row in trials.of_cycle(session, cycle.id) if row.state == "done"}
    trained = [name for name in blueprint.of_role(cycle.specs, "retrieval") if name in done]
    files = {name: _trained_files(cycle, name) for name in {*trained, *start.retrievers}}
    files[start.fusion] = functional_files(cycle, start.fusion, {})
    special = next(iter(start.paths.values()), None)
    return upstream.measure(cycle, fused, dict.fromkeys(trained, 1), files, special)


def _trained_files(cycle: Cycle, agent: str) -> Files:
    with session_scope(cycle.services.engine) as session:
        for row in trials.of_cycle(session, cycle.id, agent):
            if row.state == "done":
                return stages.files_of_trial(cycle, row)
    raise EvolutionError(f"the first composition needs {agent}, which failed")
