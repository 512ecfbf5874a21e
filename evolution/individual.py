"""Individual evolution: single agents change, the graph stands still.

Retrievers, rankers, re-rankers, and fusion and routing agents that learn are searched here, one
after the other, each on its inner reward; who wins is decided by the blended reward on users that
no search saw. The agent that plans canaries is searched so too, on generated ones. Fusion and
routing by settings alone decide for the whole system and are searched in compositional cycles.
"""

from __future__ import annotations

from agenticrs.agents import catalogue
from agenticrs.evolution import agent_methods, allotting, blueprint, preflight, stages
from agenticrs.evolution.candidates.agent_search import AgentSearch
from agenticrs.evolution.candidates.seeds import needed
from agenticrs.evolution.candidates.upstream import AgentInputs
from agenticrs.evolution.cycle import Cycle, Result, StepFunction, StepName, Waiting
from agenticrs.evolution.drafting import unpriced
from agenticrs.evolution.evidence import Evidence
from agenticrs.evolution.learning import learnings
from agenticrs.evolution.outer_reward.arena import Arena, Entry
from agenticrs.evolution.outer_reward.simulated_users import SimulatedUsers
from agenticrs.evolution.selection import membership
from agenticrs.evolution.sensing import sense
from agenticrs.evolution.verdicts import judge
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.job import Failed
from agenticrs.registry import trials
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import Role

ROLES: tuple[Role, ...] = (
    "retrieval",
    "fusion",
    "routing",
    "segmenting",
    "coarse_ranking",
    "ranking",
    "reranking",
    "experimentation",
    "planning",
    "simulation",
)
_SETTINGS_ONLY: tuple[Role, ...] = ("fusion", "routing")
"""Roles whose functional agents are settings of a composition."""


def planned(cycle: Cycle) -> tuple[list[str], dict[str, str]]:
    """Agents that would be searched if the budget allows, and why the others are not."""
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
    return names, left_out


def plan(cycle: Cycle) -> Result:
    """Which agents are searched, by which method, and what it will cost.

    An agent whose turn does not pay for one comparison is left out. Raises EvolutionError when
    that is all of them.
    """
    names, left_out = planned(cycle)
    allotted, credit = allotting.allot(cycle, names)
    turns, too_dear = preflight.afforded(allotted, preflight.costs(cycle, names), cycle.request)
    if names and not turns:
        raise EvolutionError(
            "the budget pays for a comparison of no agent: "
            + "; ".join(f"{name}: {why}" for name, why in too_dear.items()),
            hint="raise AGENTICRS_SECONDS or AGENTICRS_GPU_SECONDS, or name cheaper agents",
        )
    left_out |= too_dear
    names = list(turns)
    choices = agent_methods.chosen(cycle, turns)
    with session_scope(cycle.services.engine) as session:
        per_trial = {name: trials.mean_seconds(session, name) for name in names}
    known = [seconds for seconds in per_trial.values() if seconds is not None]
    typical = sum(known) / len(known) if known else 5.0
    work = sum(turns[n]["trials"] * (per_trial[n] or typical) for n in names)
    budget = min(work, cycle.request.seconds)
    cycle.say(
        f"{len(names)} agents, {sum(turn['trials'] for turn in turns.values())} trials: about "
        f"{budget:.0f} trial seconds, {budget / cycle.runner.parallel:.0f} s on "
        f"{cycle.runner.parallel} workers"
    )
    return {
        "agents": names,
        "left_out": left_out,
        "methods": {name: choice.named() for name, choice in choices.items()},
        "choices": agent_methods.as_json(choices),
        "turns": turns,
        "limits": {n: told for n in names if (told := agent_methods.limits_in_words(cycle, n))},
        "credit": credit,
        "unpriced": unpriced(cycle),
        "estimated_trial_seconds": round(budget, 1),
        "workers": cycle.runner.parallel,
    }


def propose(cycle: Cycle) -> Result:
    """What each search begins with: rewards on the same data, the best points on other data.

    In front of them what the last cycle found better and could not confirm.

    An agent without a past begins with its defaults, one with hardly any besides with the best
    point of the agent that is most like it.
    """
    begins = {}
    for name in cycle.results["plan"]["agents"]:
        alike, points = agent_methods.alike_best(cycle, name)
        begins[name] = {
            "remembered": len(agent_methods.remembered(cycle, name)),
            "given": [
                *agent_methods.unconfirmed(cycle, name),
                *agent_methods.defaults(cycle, name),
                *agent_methods.earlier_best(cycle, name),
                *points,
            ],
            "alike": alike,
        }
    return {"begins": begins}


def evaluate(cycle: Cycle) -> Result:
    """Run the cascade of every agent; fixed order, so that the same seed draws the same."""
    names = cycle.results["plan"]["agents"]
    implementations = catalogue.load_agents()
    inputs, champions = cycle.once(AgentInputs), stages.champion_versions(cycle)
    ended = {}
    for place, name in enumerate(names):
        spec = cycle.specs[name]
        cycle.say(f"searching {name}", place / len(names))
        method = agent_methods.method_of(cycle, name)
        turn = cycle.results["plan"]["turns"][name]
        ended[name] = AgentSearch(
            cycle,
            spec,
            implementations[name],
            method,
            trials=turn["trials"],
            seconds=turn["seconds"],
            gpu_seconds=turn.get("gpu_seconds"),
            # A first version beats nobody: it needs no other seeds.
            repeats=needed(cycle, name) - 1 if name in champions else 0,
            inputs=inputs.of(spec),
            latency=agent_methods.measures_latency(cycle, name),
            stops_early=cycle.results["plan"]["choices"][name]["way"] == "search",
        ).run()
    with session_scope(cycle.services.engine) as session:
        rows = list(trials.of_cycle(session, cycle.id))
    states = {name: [row.state for row in rows if row.agent == name] for name in names}
    return {
        "trials": {
            n: {s: found.count(s) for s in sorted(set(found))} for n, found in states.items()
        },
        "ended": ended,
        "cached": sum("cached_from" in row.note for row in rows),
        "seconds": round(sum(row.seconds for row in rows), 2),
        "gpu_seconds": round(sum(row.gpu_seconds for row in rows), 2),
    }


def select(cycle: Cycle) -> Result:
    """Compare the best candidate of each agent with its champion, on the confirmation users."""
    champions = stages.champion_versions(cycle)
    names = cycle.results["plan"]["agents"]
    best = {name: row for name in names if (row := agent_methods.best(cycle, name))}
    verdicts = judge(cycle, best, champions)
    new = [name for name in best if name not in champions]
    return {
        "verdicts": verdicts,
        "first_versions": {n: best[n].id for n in new},
        "broke_limits": agent_methods.broke_limits(cycle, names),
    }


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
    if isinstance(evidence, Failed):
        why = f"{evidence.cause}: {evidence.message}"
        return {**result, "decided_by": f"what would serve could not be measured, {why}"}
    stages.mark(cycle, "challenger", inside)
    metrics, tags = stages.published(evidence)
    row = stages.publish_composition(cycle, changed, metrics, serving.number, tags)
    result |= {"composition": row.number, "before": serving.number}
    result["evidence"] = evidence.model_dump(mode="json")
    if not all(guardrail.passed for guardrail in evidence.guardrails):
        return {**result, "composition": None, "decided_by": "guardrails: together they fail"}
    ruling = stages.ruling(cycle, serving, row, evidence)
    if ruling.approvals == 0:
        return {**result, "decided_by": f"policy {ruling.version}: {ruling.why}"}
    title = f"New versions of {', '.join(sorted(inside))}"
    result["proposal"] = stages.file_proposal(cycle, title, serving.number, row, evidence)
    return Waiting(result)


def promote(cycle: Cycle) -> Result | Waiting:
    """Move the aliases: of the agents outside the graph, and of the composition if it changed.

    The alias of an agent inside moves with its composition, when that one is promoted: a version
    that a person rejected must never be called champion.
    """
    stages.mark(cycle, "champion", cycle.results["approve"]["outside"])
    return stages.promote_composition(cycle, "evolution", "better agent versions")


def learn(cycle: Cycle) -> Result:
    """Keep what the policies of the agents have learnt from its trials; their versions by agent."""
    versions, of_recipes = {}, {}
    for name in cycle.results["plan"]["agents"]:
        space = agent_methods.space_of(cycle, name)
        if "policy" in space.methods and space.parameters:
            whole, *recipes = learnings(cycle, name)
            versions[name] = whole.keep()
            of_recipes[name] = {one.key: one.keep() for one in recipes}
    return {"policies": versions, "recipe_policies": of_recipes}


def observe(cycle: Cycle) -> Result:
    """As after every cycle; and what the policies of the agents have learnt is kept."""
    return {**learn(cycle), **stages.observe(cycle)}


STEPS: dict[StepName, StepFunction] = {
    "sense": sense,
    "plan": plan,
    "propose": propose,
    "evaluate": evaluate,
    "select": select,
    "approve": approve,
    "promote": promote,
    "observe": observe,
}


def _evidence(cycle: Cycle, before: Graph, after: Graph) -> Evidence | Failed:
    """What serves compared with the winners in it; how measuring them together failed, if so."""
    entries = [Entry("serving", before), Entry("together", after)]
    answers = Arena(cycle).measure(entries)
    if isinstance(failed := answers["together"], Failed):
        return failed
    simulated, why_not = SimulatedUsers(cycle).judge(entries)
    return stages.evidence_of(
        cycle,
        answers,
        ("serving", "together"),
        weight=max(
            cycle.specs[name].outer_weight for name in after.agents() if name in cycle.specs
        ),
        reason="agent versions that beat their champions on users no search saw",
        members=membership(before, after),
        simulated=simulated,
        unsimulated=why_not,
    )
