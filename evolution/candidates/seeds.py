"""The same recipe trained again with other seeds: how good it is, not how lucky one training was.

Trainings of one agent are one job, so that they run side by side where that is possible and wins.
One that ends for a cause that may pass (a worker lost, a time limit) is tried once more with its
own seed. None begins that the cycle's caps do not pay for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agenticrs.agents import catalogue
from agenticrs.agents.trial import TrialRequest
from agenticrs.agents.trials import FailedTrial, run_trials
from agenticrs.evolution.candidates.caps import caps, price
from agenticrs.evolution.candidates.rungs import (
    fail,
    keep,
    next_number,
    propose,
    resources,
    seed_counts,
    stored_id,
    training_seconds,
)
from agenticrs.evolution.candidates.upstream import AgentInputs
from agenticrs.evolution.cycle import Cycle
from agenticrs.platform.database import session_scope
from agenticrs.platform.jobs.job import Failed, Job, Outcome, Succeeded
from agenticrs.registry import trials
from agenticrs.registry.tables import TrialRow
from agenticrs.registry.trials import Cost

ORIGIN = "seed"
_MAY_PASS = ("lost", "timeout")


def needed(cycle: Cycle, agent: str) -> int:
    """Trainings with different seeds that a recipe must have before it may win."""
    counts = seed_counts(catalogue.load_agents()[agent])
    return cycle.services.settings.confirm_seeds if counts else 1


def unpaid(cycle: Cycle, rows: Sequence[TrialRow]) -> dict[str, str]:
    """Agents whose missing trainings the cycle's caps do not pay for, and why; first come first."""
    found, planned = dict[str, str](), Cost(0.0, 0.0)
    limits = caps(cycle)
    for row in rows:
        one, missing = price(cycle, row), needed(cycle, row.agent) - 1 - len(_over(cycle, row))
        own = Cost(missing * (one.seconds or 0.0), missing * (one.gpu_seconds or 0.0))
        both = _sum(planned, own)
        broken = [cap for cap in limits if missing > 0 and cap.pays_for(both) < 1]
        if broken:
            need = own.gpu_seconds if broken[0].on_gpu else own.seconds
            found[row.agent] = (
                f"{missing} more trainings with other seeds would take about {need:.3g} of "
                f"{broken[0].says}, of which {broken[0].left:.3g} are left"
            )
        else:
            planned = both
    return found


def trained_again(
    cycle: Cycle, rows: Sequence[TrialRow], inputs: AgentInputs
) -> dict[str, list[TrialRow]]:
    """Train each recipe until there are as many trainings as are ``needed``; agent -> the others.

    Trainings that fail are among them, with their errors. Run again after a kill, it goes on.
    """
    parents = {row.agent: row for row in rows}
    for row in rows:
        _write_down(cycle, row, inputs, needed(cycle, row.agent) - 1)
    while jobs := _jobs(cycle, parents, inputs):
        asked = {job.key: job.resources.gpus for job in jobs}
        for outcome in cycle.runner.run(jobs):
            _close(cycle, parents[outcome.key.rsplit("/", 1)[1]], outcome, asked[outcome.key])
    return {agent: _repeats(cycle, row) for agent, row in parents.items()}


def _write_down(cycle: Cycle, row: TrialRow, inputs: AgentInputs, count: int) -> None:
    """Give the repeats of a candidate their rows, where they are missing."""
    for _ in range(count - len(_repeats(cycle, row))):
        propose(
            cycle,
            agent=row.agent,
            number=next_number(cycle, row.agent),
            method=ORIGIN,
            config=row.config,
            note={
                "parent": row.number,
                "difference": "the same with another seed",
                **trials.noted(inputs.digest(cycle.specs[row.agent])),
            },
        )


def _jobs(cycle: Cycle, parents: Mapping[str, TrialRow], inputs: AgentInputs) -> list[Job]:
    """A job for each agent with open repeats; second tries that are not paid for are closed."""
    jobs, implementations = [], catalogue.load_agents()
    for agent, parent in parents.items():
        repeats = _open(cycle, parent)
        if any(row.error for row in repeats) and unpaid(cycle, [parent]):
            for row in repeats:
                fail(cycle, row, f"{row.error} (no budget is left to try it again)")
            continue
        requests = [
            TrialRequest(
                agent,
                row.config,
                seed=row.seed,
                seconds=training_seconds(cycle),
                checkpoint=str(cycle.checkpoint(row)),
            )
            for row in repeats
        ]
        if requests:
            cycle.say(f"{agent}: {len(requests)} more seeds")
            arguments = (cycle.shared_fold, requests, inputs.of(cycle.specs[agent]))
            asked = resources(cycle, implementations[agent])
            limit = len(requests) * cycle.services.settings.trial_seconds
            key = f"cycle-{cycle.id}/seeds/{agent}"
            jobs.append(Job(key, run_trials, arguments, replace(asked, time_limit=limit)))
    return jobs


def _close(cycle: Cycle, parent: TrialRow, outcome: Outcome, gpus: float) -> None:
    """Write down how the open repeats of a candidate ended; what may pass leaves them open, once.

    ``gpus`` is the share of a GPU that they asked for.
    """
    repeats = _open(cycle, parent)
    for place, row in enumerate(repeats):
        if isinstance(outcome, Succeeded):
            _finish(cycle, row, outcome.value[place], gpus if outcome.device == "cuda" else 0.0)
        else:
            # A job that failed does not say where it ran: where the recipe's first training did.
            _give_up(cycle, row, outcome, len(repeats), gpus if parent.device == "cuda" else 0.0)


def _finish(cycle: Cycle, row: TrialRow, found: Any, gpus: float) -> None:
    if isinstance(found, FailedTrial):
        fail(cycle, row, found.message, found.seconds, gpus * found.seconds)
    else:
        keep(cycle, cycle.specs[row.agent], row, found, found.seconds, gpus * found.seconds)
    cycle.forget_checkpoint(row)


def _give_up(cycle: Cycle, row: TrialRow, failed: Failed, count: int, gpus: float) -> None:
    seconds, error = failed.seconds / count, f"{failed.cause}: {failed.message}"
    if failed.cause in _MAY_PASS and not row.error:
        with session_scope(cycle.services.engine) as session:
            trials.record_interrupted(
                session, stored_id(row), error=error, seconds=seconds, gpu_seconds=gpus * seconds
            )
        return
    fail(cycle, row, error, seconds, gpus * seconds)
    cycle.forget_checkpoint(row)


def _repeats(cycle: Cycle, row: TrialRow) -> list[TrialRow]:
    with session_scope(cycle.services.engine) as session:
        rows = trials.of_cycle(session, cycle.id, row.agent)
        return [r for r in rows if r.method == ORIGIN and r.note.get("parent") == row.number]


def _open(cycle: Cycle, row: TrialRow) -> list[TrialRow]:
    return [repeat for repeat in _repeats(cycle, row) if repeat.state == "proposed"]


def _over(cycle: Cycle, row: TrialRow) -> list[TrialRow]:
    return [repeat for repeat in _repeats(cycle, row) if repeat.state != "proposed"]


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(
        (one.seconds or 0.0) + (other.seconds or 0.0),
        (one.gpu_seconds or 0.0) + (other.gpu_seconds or 0.0),
    )
