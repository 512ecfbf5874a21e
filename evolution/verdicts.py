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
from agenticrs.evolution.candidates.seeds import trained_again, unpaid
from agenticrs.evolution.candidates.trial_files import TrialFiles
from agenticrs.evolution.candidates.upstream import AgentInputs
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.evidence import Estimate, Guardrail
from agenticrs.evolution.outer_reward.arena import Arena, Entry
from agenticrs.evolution.outer_reward.simulated_users import SimulatedUsers
from agenticrs.evolution.selection import PerUser, blended, compare, convincing, guardrails
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


@dataclass(frozen=True)
class _Training:
    """One training of a recipe: its row, and what came of it in its champion's place."""

    row: TrialRow
    served: CompositionResult | None = None
    """The serving graph with it; None where that stands outside of the graph."""
    lived: Measured | None = None
    """What simulated users got from that."""


def judge(
    cycle: Cycle, best: Mapping[str, TrialRow], champions: Mapping[str, int]
) -> list[Verdict]:
    """A verdict for the best candidate of each agent that has a champion.

    What is better at level ``alpha`` and by ``minimum_effect`` is trained again with other seeds
    (``confirm_seeds`` in all), where the seed matters: its recipe must be better too, not only this
    one training, which was chosen as the best of many. Holm's correction holds over all agents.
    Who stands in the serving graph and was not measured there, and who has fewer trainings than
    that, is not accepted, whatever it gains; the verdict's ``reason`` says so.
    """
    graph = Graph.model_validate(stages.champion(cycle).graph)
    names = [name for name in best if name in champions]
    inputs = cycle.once(AgentInputs)
    measured = _champions_measured(cycle, names, champions, inputs)
    inside = {name: best[name] for name in names if name in graph.agents()}
    serving, answers = _outer(cycle, graph, inside)
    people = SimulatedUsers(cycle)
    lived = _lived(people, _entries(cycle, graph, inside)) if inside else {}
    court = _Court(cycle, measured, serving, people, lived)
    doubts = {name: _unmeasured(a) for name, a in answers.items() if isinstance(a, Failed)}
    trainings = {
        name: [_Training(best[name], _measured(answers.get(name)), lived.get(name))]
        for name in names
    }
    found = {name: _verdict(court, trainings[name]) for name in names}
    winners = [name for name in _better(cycle, found, doubts) if _safe(found[name])]
    doubts |= unpaid(cycle, [best[name] for name in winners])
    paid = [name for name in winners if name not in doubts]
    for name, repeats in trained_again(cycle, [best[n] for n in paid], inputs).items():
        more, missing = _repeated(court, graph, name, repeats)
        trainings[name] += more
        if missing:
            told = f"{len(trainings[name])} of {1 + len(repeats)} trainings could be compared"
            doubts[name] = f"only {told}: {missing}"
        if more:
            alone = found[name]["blended"]
            found[name] = {**_verdict(court, trainings[name]), "alone": alone}
    better = _better(cycle, {name: found[name] for name in names}, doubts)
    for name, verdict in found.items():
        wins = name in winners and name in better and _safe(verdict)
        verdict["accepted"] = wins
        verdict["inside"] = name in inside
        verdict["unconfirmed"] = name in doubts
        verdict["reason"] = _reason(cycle, verdict, doubts.get(name, ""))
        cycle.say(
            f"{name}: {verdict['blended']['mean']:+.1%} blended, "
            + ("accepted: " if wins else "champion stays: ")
            + verdict["reason"]
        )
    return list(found.values())


def _better(cycle: Cycle, found: Mapping[str, Verdict], doubts: Mapping[str, str]) -> list[str]:
    """Whose gain is convincing, by Holm over all; those in doubt are not, and loosen nothing."""
    scores = {name: Estimate.model_validate(verdict["blended"]) for name, verdict in found.items()}
    settings = cycle.services.settings
    wins = convincing(
        [score if name not in doubts else None for name, score in scores.items()],
        settings.alpha,
        settings.minimum_effect,
    )
    return [name for name, better in zip(scores, wins, strict=True) if better]


def _safe(verdict: Verdict) -> bool:
    return all(rail["passed"] for rail in verdict["guardrails"])


def _reason(cycle: Cycle, verdict: Verdict, doubt: str) -> str:
    """Why a verdict is as it is, for people."""
    seeds, score = verdict["seeds"], verdict["blended"]
    settings = cycle.services.settings
    if verdict["accepted"]:
        return "better for certain" + (f", over {seeds} seeds" if seeds > 1 else "")
    if doubt:
        return doubt
    if not _safe(verdict):
        broken = [rail["name"] for rail in verdict["guardrails"] if not rail["passed"]]
        return f"guardrail broken: {', '.join(broken)}"
    if settings.minimum_effect and score["low"] > 0:
        return f"not better by more than {settings.minimum_effect:.3g} for certain"
    return "not better for certain" + (f", over {seeds} seeds" if seeds > 1 else "")


def _repeated(
    court: _Court, graph: Graph, name: str, repeats: Sequence[TrialRow]
) -> tuple[list[_Training], str]:
    """The trainings with other seeds that can be compared, and why others cannot.

    Within the serving graph only those that were measured there, too: like with like.
    """
    cycle = court.cycle
    done = [row for row in repeats if row.state == "done"]
    missing = [f"#{row.number} {row.error}" for row in repeats if row.state != "done"]
    if name not in graph.agents():
        return [_Training(row) for row in done], "; ".join(missing)
    keyed = {str(row.number): row for row in done}
    _, answers = _outer(cycle, graph, keyed, name)
    wanted = name in court.lived
    lived = _lived(court.people, _entries(cycle, graph, keyed, name)) if wanted else {}
    missing += [f"#{key} {_unmeasured(a)}" for key, a in answers.items() if isinstance(a, Failed)]
    more = [
        _Training(row, served, lived.get(key))
        for key, row in keyed.items()
        if (served := _measured(answers.get(key))) is not None
    ]
    return more, "; ".join(missing)


def _measured(answer: CompositionResult | Failed | None) -> CompositionResult | None:
    return None if isinstance(answer, Failed) else answer


def _unmeasured(failed: Failed) -> str:
    return f"what serves could not be measured with it, {failed.cause}: {failed.message}"


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
) -> tuple[CompositionResult | None, dict[str, CompositionResult | Failed]]:
    """The serving graph as it is, and with each candidate in its champion's place, by its key.

    Keys are agents, or candidates of one ``agent``; with ``agent`` the graph as it is is left out.
    """
    if not rows:
        return None, {}
    answers = Arena(cycle).measure(_entries(cycle, graph, rows, agent))
    serving = answers.pop("serving", None)
    if isinstance(serving, Failed):
        raise EvolutionError(f"the serving composition: {serving.message}")
    return serving, answers


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


def _verdict(court: _Court, trainings: Sequence[_Training]) -> Verdict:
    """The comparison of a recipe with the champion: means over its ``trainings``, per user.

    Simulated users are heard only where they met all of them.
    """
    row, cycle = trainings[0].row, court.cycle
    spec, settings, seed = cycle.specs[row.agent], cycle.services.settings, cycle.request.seed
    metric = str(spec.inner_reward)
    trained = [trial_files.read(cycle.trial_folder(one.row)) for one in trainings]
    confirm = ~search_users(trained[0].users)
    inner = (
        court.champions[row.agent].per_user[metric][confirm],
        _mean([files.per_user[metric] for files in trained])[confirm],
    )
    changed = [one.served for one in trainings if one.served is not None]
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
        told = [one.lived for one in trainings if one.lived is not None]
        if "" in court.lived and len(told) == len(trainings):
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
        level=1 - settings.alpha,
        heard=simulated.heard if simulated else None,
    )
    return {
        "agent": row.agent,
        "trial": stored_id(row),
        "number": row.number,
        "seeds": len(trainings),
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
