"""The same recipe trained again with other seeds: how good it is, not how lucky one training was.

Trainings of one agent are one job, so that they run side by side where that is possible and wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agenticrs.agents import catalogue
from agenticrs.agents.trial import TrialRequest
from agenticrs.agents.trials import FailedTrial, run_trials
from agenticrs.evolution.candidates.rungs import (
    draws_at_random,
    fail,
    keep,
    next_number,
    propose,
    resources,
    training_seconds,
)
from agenticrs.evolution.candidates.upstream import AgentInputs
from agenticrs.evolution.cycle import Cycle
from agenticrs.platform.database import session_scope
from agenticrs.platform.jobs.job import Job, Succeeded
from agenticrs.registry import trials
from agenticrs.registry.tables import TrialRow

ORIGIN = "seed"


def trained_again(
    cycle: Cycle, rows: Sequence[TrialRow], inputs: AgentInputs, seeds: int
) -> dict[str, list[TrialRow]]:
    """Train each recipe until there are ``seeds`` trainings with its own; agent -> the others.

    Agents that draw nothing at random (those without epochs) are left out: another seed changes
    nothing. Trainings that fail are rows, and missing here. Run again after a kill, it goes on.
    """
    implementations = catalogue.load_agents()
    drawing = [row for row in rows if draws_at_random(implementations[row.agent]) and seeds > 1]
    wanted = {row.agent: _rows(cycle, row, inputs, seeds - 1) for row in drawing}
    jobs = []
    for agent, repeats in wanted.items():
        requests = [
            TrialRequest(
                agent,
                row.config,
                seed=row.seed,
                seconds=training_seconds(cycle),
                checkpoint=str(cycle.checkpoint(row)),
            )
            for row in repeats
            if row.state == "proposed"
        ]
        if requests:
            cycle.say(f"{agent}: {len(requests)} more seeds")
            arguments = (cycle.shared_fold, requests, inputs.of(cycle.specs[agent]))
            asked = resources(cycle, implementations[agent])
            limit = len(requests) * cycle.services.settings.trial_seconds
            key = f"cycle-{cycle.id}/seeds/{agent}"
            jobs.append(Job(key, run_trials, arguments, replace(asked, time_limit=limit)))
    for outcome in cycle.runner.run(jobs):
        agent = outcome.key.rsplit("/", 1)[1]
        open_rows = [row for row in wanted[agent] if row.state == "proposed"]
        for place, row in enumerate(open_rows):
            if isinstance(outcome, Succeeded):
                _finish(cycle, row, outcome.value[place])
            else:
                seconds = outcome.seconds / len(open_rows)
                fail(cycle, row, f"{outcome.cause}: {outcome.message}", seconds)
            cycle.forget_checkpoint(row)
    return {row.agent: _done(cycle, row) for row in drawing}


def _rows(cycle: Cycle, row: TrialRow, inputs: AgentInputs, count: int) -> list[TrialRow]:
    """The repeats of a candidate, written down where they are missing."""
    known = _repeats(cycle, row)
    return known + [
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
        for _ in range(count - len(known))
    ]


def _repeats(cycle: Cycle, row: TrialRow) -> list[TrialRow]:
    with session_scope(cycle.services.engine) as session:
        rows = trials.of_cycle(session, cycle.id, row.agent)
        return [r for r in rows if r.method == ORIGIN and r.note.get("parent") == row.number]


def _done(cycle: Cycle, row: TrialRow) -> list[TrialRow]:
    return [repeat for repeat in _repeats(cycle, row) if repeat.state == "done"]


def _finish(cycle: Cycle, row: TrialRow, found: Any) -> None:
    if isinstance(found, FailedTrial):
        fail(cycle, row, found.message, found.seconds)
    else:
        keep(cycle, cycle.specs[row.agent], row, found, found.seconds)
