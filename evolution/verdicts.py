"""Whether an agent's best candidate beats its champion: on confirm users, with several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenticrs.agents import catalogue
from agenticrs.agents.simulation.jobs import Measured
from agenticrs.agents.trial import CompositionResult, TrialResult, evaluate_version
from agenticrs.evolution import stages
from agenticrs.evolution.candidates import trial_files
from agenticrs.evolution.candidates.rungs import resources, stored_id
from agenticrs.evolution.candidates.seeds import trained_again
from agenticrs.evolution.candidates.trial_files import TrialFiles
from agenticrs.evolution.candidates.upstream import AgentInputs
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.evidence import Guardrail
from agenticrs.evolution.outer_reward.arena import Arena, Entry
from agenticrs.evolution.outer_reward.simulated_users import SimulatedUsers
from agenticrs.evolution.selection import PerUser, accepted, blended, compare, guardrails
from agenticrs.evolution.stages import OUTER
from agenticrs.platform.data.splits import search_users
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.job import Failed, Job
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import TrialRow
from agenticrs.rewards.blend import blended_score

Verdict = dict[str, Any]


@dataclass(frozen=True)
class _Court:
    """What all verdicts of a cycle rest on, measured once."""

    cycle: Cycle
    champions: Mapping[str, TrialResult]
    """The champions' inner rewards by agent."""
    serving: CompositionResult | None
    """What serves, as it is; None when no candidate would change it."""
    people: SimulatedUsers
    lived: dict[str, Measured]
    """What simulated users got from it (key ""), and from it with each candidate, by agent."""


def judge(
    cycle: Cycle, best: Mapping[str, TrialRow], champions: Mapping[str, int]
) -> list[Verdict]:
    """A verdict for the best candidate of each agent that has a champion.

    What is better at level ``alpha`` and by ``minimum_effect`` is trained again with other seeds
    (``confirm_seeds`` in all), where the seed matters: its recipe must be better too, not only this
    one training, which was chosen as the best of many. Holm's correction holds over all agents.
    """
    settings = cycle.services.settings
    graph = Graph.model_validate(stages.champion(cycle).graph)
    names = [name for name in best if name in champions]
    inputs = cycle.once(AgentInputs)
    measured = _champions_measured(cycle, names, champions, inputs)
    inside = {name: best[name] for name in names if name in graph.agents()}
    answers, people = _outer(cycle, graph, inside), SimulatedUsers(cycle)
    lived = _lived(people, _entries(cycle, graph, inside)) if inside else {}
    court = _Court(cycle, measured, answers.pop("", None), people, lived)
    first = {
        name: _verdict(court, [best[name]], [answers.get(name)], [lived.get(name)])
        for name in names
    }
    winners = [
        name for name, found in zip(names, _accepted(cycle, first.values()), strict=True) if found
    ]
    again = trained_again(cycle, [best[name] for name in winners], inputs, settings.confirm_seeds)
    for name in winners:
        rows = [best[name], *again.get(name, ())]
        if len(rows) > 1:
            repeats = {str(row.number): row for row in rows[1:]} if name in inside else {}
            others = _outer(cycle, graph, repeats, name)
            later = _lived(people, _entries(cycle, graph, repeats, name)) if name in lived else {}
            outer = [answers.get(name), *(others.get(str(row.number)) for row in rows[1:])]
            told = [lived.get(name), *(later.get(str(row.number)) for row in rows[1:])]
            first[name] = {**_verdict(court, rows, outer, told), "alone": first[name]["blended"]}
    for name, better in zip(names, _accepted(cycle, first.values()), strict=True):
        verdict = first[name]
        safe = all(rail["passed"] for rail in verdict["guardrails"])
        verdict["accepted"] = better and safe and name in winners
        cycle.say(
            f"{name}: {verdict['blended']['mean']:+.1%} blended"
            + (f" over {verdict['seeds']} seeds" if verdict["seeds"] > 1 else "")
            + (", accepted" if verdict["accepted"] else ", champion stays")
        )
    return list(first.values())


def _accepted(cycle: Cycle, verdicts: Any) -> list[bool]:
    settings, scores = cycle.services.settings, [verdict["blended"] for verdict in verdicts]
    significant = accepted(
        [score["p_value"] for score in scores], [score["mean"] for score in scores], settings.alpha
    )
    least = settings.minimum_effect
    return [
        # Without a minimum the test alone decides, at its own level.
        better and (least == 0 or score["low"] > least)
        for better, score in zip(significant, scores, strict=True)
    ]


def _champions_measured(
    cycle: Cycle, names: Sequence[str], champions: Mapping[str, int], inputs: AgentInputs
) -> dict[str, TrialResult]:
    arena, implementations = Arena(cycle), catalogue.load_agents()
    jobs = []
    for name in names:
        files = dict(arena.files(name, champions[name]))
        arguments = (cycle.shared_fold, files, inputs.of(cycle.specs[name]))
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
    cycle: Cycle, graph: Graph, rows: Mapping[str, TrialRow], agent: str | None = None
) -> dict[str, CompositionResult]:
    """The serving graph with each candidate in its champion's place, by the candidate's key.

    Keys are agents, or candidates of one ``agent``; without ``agent`` the graph as it is has the
    key "". A candidate with which the graph fails is left out.
    """
    if not rows:
        return {}
    answers = Arena(cycle).measure(_entries(cycle, graph, rows, agent))
    serving = answers.get("serving")
    if isinstance(serving, Failed):
        raise EvolutionError(f"the serving composition: {serving.message}")
    found = {k: a for k, a in answers.items() if not isinstance(a, Failed)}
    return {("" if key == "serving" else key): answer for key, answer in found.items()}


def _entries(
    cycle: Cycle, graph: Graph, rows: Mapping[str, TrialRow], agent: str | None = None
) -> list[Entry]:
    entries = [] if agent else [Entry("serving", graph)]
    return entries + [
        Entry(key, graph, {agent or key: stages.files_of_trial(cycle, row)})
        for key, row in rows.items()
    ]


def _lived(people: SimulatedUsers, entries: Sequence[Entry]) -> dict[str, Measured]:
    """What simulated users got, by the keys of ``_outer``; nothing where there are none."""
    found = people.meet(entries).answers
    return {("" if key == "serving" else key): answer for key, answer in found.items()}


def _verdict(
    court: _Court,
    rows: Sequence[TrialRow],
    outer: Sequence[CompositionResult | None],
    lived: Sequence[Measured | None],
) -> Verdict:
    """The comparison of a recipe with the champion: means over its trainings ``rows``, per user.

    ``outer`` holds the serving graph with each of them in place, or None; ``lived`` what simulated
    users got from it. They are heard only where all of them are there.
    """
    row, cycle = rows[0], court.cycle
    spec, settings, seed = cycle.specs[row.agent], cycle.services.settings, cycle.request.seed
    metric = str(spec.inner_reward)
    trained = [trial_files.read(cycle.trial_folder(one)) for one in rows]
    confirm = ~search_users(trained[0].users)
    inner = (
        court.champions[row.agent].per_user[metric][confirm],
        _mean([files.per_user[metric] for files in trained])[confirm],
    )
    changed = [answer for answer in outer if answer is not None]
    whole: tuple[PerUser, PerUser] | None = None
    weight, rails = 0.0, tuple[Guardrail, ...]()
    simulated = None
    if court.serving is not None and changed:
        before = court.serving
        whole = (
            before.per_user[OUTER][confirm],
            _mean([answer.per_user[OUTER] for answer in changed])[confirm],
        )
        weight = spec.outer_weight
        told = [one for one in lived if one is not None]
        if "" in court.lived and len(told) == len(changed) == len(rows):
            simulated = court.people.compare(court.lived[""], told)
        # The first one is what would serve: its limits count.
        rails = guardrails(
            before.totals,
            changed[0].totals,
            latency_limit_ms=settings.latency_limit_ms,
            coverage_floor=settings.coverage_floor,
        )
    pair = whole or inner
    told_back = _steering(court, row.agent, trained, changed, metric, weight)
    score = blended(
        (inner[0], pair[0]),
        (inner[1], pair[1]),
        weight,
        seed=seed,
        heard=simulated.heard if simulated else None,
    )
    return {
        "agent": row.agent,
        "trial": stored_id(row),
        "number": row.number,
        "seeds": len(rows),
        "weight": weight,
        "inner": compare(metric, *inner, seed=seed).model_dump(mode="json"),
        "outer": compare(OUTER, *whole, seed=seed).model_dump(mode="json") if whole else None,
        "simulation": simulated.simulation.model_dump(mode="json") if simulated else None,
        "blended": score.model_dump(mode="json"),
        "guardrails": [rail.model_dump(mode="json") for rail in rails],
        "users": int(confirm.sum()),
        "steering": told_back,
        "seconds": cycle.spent_seconds(row.agent),
    }


def _steering(
    court: _Court,
    agent: str,
    trained: Sequence[TrialFiles],
    changed: Sequence[CompositionResult],
    metric: str,
    weight: float,
) -> float | None:
    """The blended reward in the unit of the inner one, on the users that steer searches alone.

    It is what a policy that learns is told of the candidate, late; None where the champion's is 0.
    """
    steer = search_users(trained[0].users)
    before = float(court.champions[agent].per_user[metric][steer].mean()) if steer.any() else 0.0
    if before <= 0:
        return None
    after = float(_mean([files.per_user[metric] for files in trained])[steer].mean())
    outer = (0.0, 0.0)
    if court.serving is not None and changed:
        served = court.serving.per_user[OUTER][steer].mean()
        outer = float(_mean([c.per_user[OUTER] for c in changed])[steer].mean()), float(served)
    lift = blended_score(after, before, *outer, weight if outer[1] > 0 else 0.0)
    return before * (1 + lift)


def _mean(values: Sequence[PerUser]) -> PerUser:
    mean: PerUser = np.mean(values, axis=0)
    return mean
