"""Compositional evolution: who takes part and for whom, with which weights, and who prunes.

Candidates are points of the blueprint space; each is a graph over present champions, measured as a
whole on the held-out users. The best one is compared with what serves on users that the search
never saw, and waits for a person as a proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from agenticrs.agents import catalogue
from agenticrs.agents.trial import CompositionResult
from agenticrs.evolution import blueprint, library, segments, stages, wishes
from agenticrs.evolution.candidates import trial_files
from agenticrs.evolution.candidates.rungs import SEGMENTS, brought, draw, fail, stored_id
from agenticrs.evolution.candidates.rungs import propose as propose_trial
from agenticrs.evolution.candidates.trial_files import TrialFiles
from agenticrs.evolution.cycle import Cycle, Result, StepFunction, StepName, Waiting
from agenticrs.evolution.drafting import composition_drafts, language_models, unpriced
from agenticrs.evolution.evidence import Evidence
from agenticrs.evolution.learning import Learning
from agenticrs.evolution.methods.combination import AlternateOnSaturation
from agenticrs.evolution.methods.greedy import VERSION, WEIGHT, GreedySelection, OfPresentVersions
from agenticrs.evolution.methods.limits import broken
from agenticrs.evolution.methods.method import Method
from agenticrs.evolution.methods.points import tried
from agenticrs.evolution.methods.search import Search
from agenticrs.evolution.outer_reward.arena import Arena, Entry, Files, functional_files
from agenticrs.evolution.outer_reward.simulated_users import SimulatedUsers
from agenticrs.evolution.reading_back import point_of
from agenticrs.evolution.selection import convincing, mean_reward, membership
from agenticrs.evolution.sensing import sense
from agenticrs.evolution.stages import INNER, OUTER
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError, InvalidComposition
from agenticrs.platform.jobs.job import Failed
from agenticrs.registry import trials, versions
from agenticrs.registry.graph import Graph, validate
from agenticrs.registry.spec import Choice
from agenticrs.registry.tables import TrialRow
from agenticrs.rewards.blend import blended_score

_GREEDY_SHARE = 3
"""One in so many compositions is drawn by the baseline that the search has to beat."""


def plan(cycle: Cycle) -> Result:
    """The members that are available, and how many compositions will be tried."""
    champions = stages.champion_versions(cycle)
    members = {name: number for name, number in champions.items() if name in cycle.specs}
    retrievers = blueprint.of_role(_specs(cycle, members), "retrieval")
    count = cycle.request.trials * cycle.request.compositions_per_trial
    cycle.say(f"{count} compositions of {len(members)} agents")
    return {
        "members": members,
        "earlier": library.earlier(cycle, retrievers, members),
        "archived": library.archived(cycle, retrievers, members),
        "compositions": count,
        "parameters": [p.name for p in blueprint.space(_specs(cycle, members))],
        "search": dict(zip(("order", "reason"), _order(cycle), strict=True)),
        "unpriced": unpriced(cycle),
        "outer_weight": _weight(cycle),
        "objectives": cycle.services.settings.objective_weights,
    }


def propose(cycle: Cycle) -> Result:
    """Give the simple baselines first: the best retriever alone, everybody together, a cascade."""
    specs = _specs(cycle, cycle.results["plan"]["members"])
    with session_scope(cycle.services.engine) as session:
        rewards = {
            name: trials.best_reward(session, name, cycle.fingerprint, cycle.request.split)
            for name in specs
        }
    points = blueprint.given_points(specs, {n: r for n, r in rewards.items() if r is not None})
    # Whole points: a search learns only from those that say everything.
    defaults = _defaults(specs)
    return {"given": [{**defaults, **point} for point in points]}


def evaluate(cycle: Cycle) -> Result:
    """Measure candidate compositions in waves until the budget is used up."""
    arena, wanted = Arena(cycle), cycle.results["plan"]["compositions"]
    serving = arena.measure_one(
        Entry("serving", Graph.model_validate(stages.champion(cycle).graph))
    )
    baseline, method = _rewards(serving), _method(cycle, _segments(cycle, serving))
    while True:
        with session_scope(cycle.services.engine) as session:
            rows = list(trials.of_cycle(session, cycle.id, cycle.surface))
        wave = [row for row in rows if row.state == "proposed"]
        if not wave:
            left = wanted - brought(rows)
            if left <= 0 or cycle.spent_seconds() >= cycle.request.seconds:
                break
            wave = draw(cycle, cycle.surface, method, min(left, 2 * cycle.runner.parallel))
            if not wave:
                break
        _measure(cycle, arena, wave, baseline)
        cycle.say("compositions measured", min(1.0, (len(rows) + len(wave)) / wanted))
    return {
        "baseline": {OUTER: baseline[OUTER], INNER: baseline[INNER]},
        "states": {s: [r.state for r in rows].count(s) for s in sorted({r.state for r in rows})},
        "best": _best_by_method(rows),
        "ended": {cycle.surface: _ended(cycle, method, rows)},
        "seconds": round(sum(row.seconds for row in rows), 2),
    }


def select(cycle: Cycle) -> Result:
    """The best composition against what serves, on the confirmation users, with guardrails."""
    limits = wishes.of_compositions(cycle.services.settings).limits
    with session_scope(cycle.services.engine) as session:
        every = [r for r in trials.of_cycle(session, cycle.id, cycle.surface) if r.state == "done"]
    rows = [row for row in every if not broken(limits, tried(row).metrics)]
    if len(rows) < len(every):
        cycle.say(f"{len(every) - len(rows)} compositions break a limit")
    # The search may prefer what a guardrail forbids: go down the list until one is safe. Only that
    # one is tested on the confirmation users, so no p value is picked from several.
    serving = stages.champion(cycle)
    before = Graph.model_validate(serving.graph)
    arena, people = Arena(cycle), SimulatedUsers(cycle)
    why = list[str]()
    for row in sorted(rows, key=lambda r: (-(r.reward or 0.0), r.number))[:3]:
        graph, files = candidate(cycle, row.config)
        entries = [Entry("serving", before), Entry("candidate", graph, files)]
        answers = arena.measure(entries)
        if isinstance(failed := answers["candidate"], Failed):
            why.append(f"#{row.number} could not be measured, {failed.cause}: {failed.message}")
            cycle.say(f"composition {why[-1]}")
            continue
        compared = partial(
            stages.evidence_of,
            cycle,
            answers,
            ("serving", "candidate"),
            reason=f"best of {len(rows)} compositions on the search users",
            members=membership(before, graph),
            weight=_weight(cycle),
        )
        fallen = [rail.name for rail in compared().guardrails if not rail.passed]
        if fallen:
            why.append(f"#{row.number} is passed over: {', '.join(fallen)}")
            cycle.say(f"composition {why[-1]}")
            continue
        simulated, why_not = people.judge(entries)
        evidence = compared(simulated=simulated, unsimulated=why_not)
        gain = evidence.score
        settings = cycle.services.settings
        (convinces,) = convincing([gain], settings.alpha, settings.minimum_effect)
        if convinces:
            cycle.say(f"composition {gain.mean:+.1%} blended: significant, guardrails kept")
            return {
                "trial": stored_id(row),
                "evidence": evidence.model_dump(mode="json"),
                "before": serving.number,
            }
        why.append("no significant gain")
        break
    cycle.say("no composition beats what serves: nothing is proposed")
    return {"trial": None, "evidence": None, "why": "; ".join(why) or "no composition to propose"}


def approve(cycle: Cycle) -> Result | Waiting:
    """Publish the composition and what of it was no version yet, and file a proposal."""
    chosen = cycle.results["select"]["trial"]
    if chosen is None:
        return {"composition": None, "decided_by": cycle.results["select"]["why"]}
    with session_scope(cycle.services.engine) as session:
        row = trials.get(session, chosen)
    graph, files = candidate(cycle, row.config)
    archived = library.trials_of(row.config)
    for agent, content in files.items():
        if agent in archived:
            number = stages.publish_version(cycle, archived[agent]).number
        else:
            number = _publish_functional(cycle, agent, row, content)
        graph = graph.with_version(agent, number)
    # What the evidence compares with: something else may have begun to serve since.
    before = cycle.results["select"].get("before", stages.champion(cycle).number)
    evidence = Evidence.model_validate(cycle.results["select"]["evidence"])
    metrics, tags = stages.published(evidence)
    composition = stages.publish_composition(cycle, graph, metrics, before, tags)
    title = "New composition: " + ", ".join(
        [f"+{n}" for n in evidence.members.added]
        + [f"-{n}" for n in evidence.members.removed]
        + [f"~{n}" for n in evidence.members.changed]
    )
    proposal = stages.file_proposal(cycle, title, before, composition, evidence)
    cycle.say(f"proposal {proposal} waits for a person")
    return Waiting({"composition": composition.number, "proposal": proposal, "versions": {}})


def promote(cycle: Cycle) -> Result | Waiting:
    """Carry out what a person approved; nothing when it was rejected or nothing was proposed."""
    return stages.promote_composition(cycle, "evolution", "approved composition")


def learn(cycle: Cycle) -> dict[str, int]:
    """Keep what the policy of compositions has learnt from its trials; surface -> version."""
    space = blueprint.space(_specs(cycle, _members(cycle)))
    return {cycle.surface: Learning(cycle, cycle.surface, space).keep()}


def observe(cycle: Cycle) -> Result:
    """As after every cycle; and what the policy of compositions has learnt is kept."""
    versions = learn(cycle)
    return {**stages.observe(cycle), "policies": versions}


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


def _order(cycle: Cycle) -> tuple[list[str], str]:
    """Methods in the order of their turns, and why they have it."""
    asked = str(wishes.of_compositions(cycle.services.settings).methods[0])
    order = ["greedy", asked]
    words = [
        "greedy selection of members begins, as the baseline to beat",
        f"{asked} searches the whole graph where that brings nothing more"
        + ("" if asked == "tpe" else ", as AGENTICRS_METHODS asks"),
    ]
    if language_models(cycle):
        order.append("llm")
        words.append("then language models draft")
    if asked != "policy":
        order.append("policy")
        words.append("then the policy that learnt from earlier cycles")
    return order, "; ".join(words)


def _ended(cycle: Cycle, method: AlternateOnSaturation, rows: Sequence[TrialRow]) -> str:
    """Why no more compositions were tried."""
    wanted = cycle.results["plan"]["compositions"]
    if brought(rows) >= wanted:
        return f"all {wanted} compositions are tried"
    if cycle.spent_seconds() >= cycle.request.seconds:
        return f"the cycle's {cycle.request.seconds:g} trial seconds are used up"
    why = method.ended([tried(row) for row in rows])
    return f"saturated: {why}" if why else "no method has anything more to try"


def _best_by_method(rows: Sequence[TrialRow]) -> dict[str, float]:
    """The best blended lift that each method found."""
    found: dict[str, float] = {}
    for row in rows:
        if row.state == "done" and row.reward is not None:
            found[row.method] = max(row.reward, found.get(row.method, row.reward))
    return found


def _members(cycle: Cycle) -> dict[str, int]:
    found: dict[str, int] = cycle.results["plan"]["members"]
    return found


def _specs(cycle: Cycle, members: dict[str, int]) -> dict[str, Any]:
    return {name: spec for name, spec in cycle.specs.items() if name in members}


def _defaults(specs: dict[str, Any]) -> dict[str, Any]:
    """A value for every parameter of the space: the agents' own defaults, the plainest choices."""
    found: dict[str, Any] = {}
    agents = catalogue.load_agents()
    for parameter in blueprint.space(specs):
        agent, _, setting = parameter.name.partition(".")
        if agent in specs and setting:
            found[parameter.name] = getattr(agents[agent].config_type(), setting)
        elif isinstance(parameter, Choice):
            found[parameter.name] = parameter.values[0]
        else:
            found[parameter.name] = 1.0
    return found


def _point_of_what_serves(cycle: Cycle, specs: dict[str, Any]) -> dict[str, Any] | None:
    """The point that what serves lies at; None where it lies at none of the space."""
    graph, agents = Graph.model_validate(stages.champion(cycle).graph), catalogue.load_agents()
    configs = {}
    with session_scope(cycle.services.engine) as session:
        for name, number in graph.agents().items():
            if name in specs and specs[name].kind == "functional":
                version = versions.get(session, cycle.surface, name, number)
                default = agents[name].config_type().model_dump(mode="json")
                configs[name] = {**default, **version.config}
    return point_of(graph, specs, configs, _defaults(specs))


def _weight(cycle: Cycle) -> float:
    fusions = blueprint.of_role(cycle.specs, "fusion")
    return max(cycle.specs[name].outer_weight for name in fusions)


def _method(cycle: Cycle, served: segments.Segments) -> AlternateOnSaturation:
    """Given points and greedy selection first, then what the plan says, each until saturated."""
    specs = _specs(cycle, _members(cycle))
    space, given = blueprint.space(specs), cycle.results["propose"]["given"]
    weights = [p.name for p in space if p.name.startswith(WEIGHT)]
    greedy = GreedySelection(
        [name.removeprefix(WEIGHT) for name in weights],
        base={name: value for name, value in given[0].items() if name not in weights},
        most=cycle.results["plan"]["compositions"] // _GREEDY_SHARE,
        earlier=cycle.results["plan"].get("earlier", {}),
        archived=cycle.results["plan"].get("archived", {}),
    )
    made: dict[str, Method] = {"greedy": greedy}
    asked = wishes.of_compositions(cycle.services.settings)
    order = cycle.results["plan"].get("search", {}).get("order", ["greedy", "tpe"])
    for name in order[1:]:
        if name == "llm":
            made[name] = composition_drafts(
                cycle,
                space,
                lambda point: blueprint.at(point, specs),
                _point_of_what_serves(cycle, specs),
                given[0],
                served,
            )
        elif name == "policy":
            made[name] = Learning(cycle, cycle.surface, space).policy(given)
        else:
            made[name] = Search(
                space,
                method=name,
                seed=cycle.request.seed,
                given=given,
                beside=asked.beside,
                limits=asked.limits,
            )
    first, second, *others = (
        made[name] if name == "greedy" else OfPresentVersions(made[name]) for name in order
    )
    return AlternateOnSaturation(first, second, tuple(order), others=tuple(others))


def _rewards(result: CompositionResult) -> dict[str, float]:
    return {name: mean_reward(result.per_user[name], result.users) for name in (OUTER, INNER)}


def _segments(cycle: Cycle, result: CompositionResult) -> segments.Segments:
    return segments.steering(cycle.fold.dataset, result.users, result.per_user, (OUTER, INNER))


def candidate(cycle: Cycle, point: dict[str, Any]) -> tuple[Graph, dict[str, Files]]:
    """The graph of a point, with files of the members that are no versions yet.

    These are functional agents that it configures anew, and trials out of the archive. They stand
    at a number that is not their agent's present one.
    """
    members = cycle.results["plan"]["members"]
    specs = _specs(cycle, members)
    plan_of = blueprint.at(point, specs)
    archived = library.trials_of(point)
    new = {*plan_of.configs, *archived}
    numbers = {n: members[n] + (1 if n in new else 0) for n in members}
    numbers |= {n: int(point[VERSION + n]) for n in members if VERSION + n in point}
    graph = blueprint.graph_of(plan_of, specs, numbers)
    validate(graph, cycle.all_specs)
    files = {name: functional_files(cycle, name, c) for name, c in plan_of.configs.items()}
    files |= {name: library.files_of(cycle, name, key) for name, key in archived.items()}
    return graph, files


def _measure(cycle: Cycle, arena: Arena, wave: list[TrialRow], baseline: dict[str, float]) -> None:
    entries = []
    for row in wave:
        try:
            graph, files = candidate(cycle, row.config)
            entries.append(Entry(str(row.number), graph, files))
        except (EvolutionError, InvalidComposition) as error:
            fail(cycle, row, f"static check: {error}")
    by_key = {str(row.number): row for row in wave}
    weight = cycle.results["plan"]["outer_weight"]
    for key, answer in arena.measure(entries).items():
        row = by_key[key]
        if isinstance(answer, Failed):
            fail(cycle, row, f"{answer.cause}: {answer.message}", answer.seconds)
            continue
        found = _rewards(answer)
        reward = blended_score(found[INNER], baseline[INNER], found[OUTER], baseline[OUTER], weight)
        with session_scope(cycle.services.engine) as session:
            trials.record_full(
                session,
                stored_id(row),
                metrics=answer.totals,
                reward=reward,
                seconds=arena.seconds[key],
                device="cpu",
                note={SEGMENTS: _segments(cycle, answer)},
            )


def _publish_functional(cycle: Cycle, agent: str, chosen: TrialRow, files: Files) -> int:
    """A new version of a fusion or routing agent, out of the chosen composition's settings."""
    with session_scope(cycle.services.engine) as session:
        rows = list(trials.of_cycle(session, cycle.id, agent))
    if rows:
        row = rows[0]
    else:
        config = blueprint.at(
            chosen.config, _specs(cycle, cycle.results["plan"]["members"])
        ).configs[agent]
        row = propose_trial(
            cycle, agent=agent, number=chosen.number, method=chosen.method, config=dict(config)
        )
    if row.state != "done":
        trial_files.write(cycle.trial_folder(row), TrialFiles(files, np.array([]), {}))
        with session_scope(cycle.services.engine) as session:
            trials.record_full(
                session,
                stored_id(row),
                metrics=chosen.metrics,
                reward=chosen.reward or 0.0,
                seconds=0.0,
                device="cpu",
            )
    return stages.publish_version(cycle, stored_id(row)).number
