"""Health checks of candidates before they are trained: whose are asked, and what is kept of them.

Of our own agents only a new structure can be ill: the others are examined by the tests. Of an agent
from another package nobody knows: its candidates are examined until one has passed on this
snapshot. That is noted with the trial, so that it is asked once for the agent's code and data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from agenticrs.agents.agent import Agent
from agenticrs.agents.health.check import check
from agenticrs.agents.health.report import HealthReport
from agenticrs.agents.trial import CandidateArrays, TrialRequest
from agenticrs.evolution.candidates.code import code_of, is_foreign
from agenticrs.evolution.candidates.rungs import fail, stored_id
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.methods.points import STRUCTURE
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.database import session_scope
from agenticrs.platform.jobs.job import Job, Resources, Succeeded
from agenticrs.registry import trials
from agenticrs.registry.spec import AgentSpec
from agenticrs.registry.tables import TrialRow

HEALTH = "health"
"""Where a trial's note keeps the digest of what was examined, and whether it passed."""


def healthy(
    cycle: Cycle,
    spec: AgentSpec,
    implementation: type[Agent[Any]],
    rows: Sequence[TrialRow],
    inputs: Any = (),
) -> list[TrialRow]:
    """The candidates of an agent that pass, or need not be asked; the others have failed.

    ``inputs`` are what the agents above put out, shared or not.
    """
    content = _content(cycle, spec, implementation) if is_foreign(implementation) else ""
    foreign = is_foreign(implementation) and not _well(cycle, spec.name, content)
    asked = {
        f"cycle-{row.cycle_id}/{row.agent}/{row.number}/health": row
        for row in rows
        if foreign or (row.state == "proposed" and row.config.get(STRUCTURE))
    }
    ill = set()
    for outcome in cycle.runner.run([_job(cycle, key, row, inputs) for key, row in asked.items()]):
        row, fault = asked[outcome.key], ""
        if not isinstance(outcome, Succeeded):
            fault = f"health, {outcome.cause}: {outcome.message}"
        elif not outcome.value.passed:
            fault = f"health: {outcome.value.summary()}"
        if content:
            _note(cycle, row, {"content": content, "passed": not fault})
        if fault:
            fail(cycle, row, fault, outcome.seconds)
            cycle.say(f"{row.agent} #{row.number} is refused: {fault}")
            ill.add(row.id)
    return [row for row in rows if row.id not in ill]


def examine(
    fold: Fold, request: TrialRequest, inputs: Sequence[CandidateArrays] = ()
) -> HealthReport:
    """The health checks of a candidate, as a job: it may crash, and ends alone."""
    return check(fold, request, [source.agent for source in inputs])


def _job(cycle: Cycle, key: str, row: TrialRow, inputs: Any) -> Job:
    settings = cycle.services.settings
    return Job(
        key,
        examine,
        (cycle.shared_fold, TrialRequest(row.agent, row.config, row.seed), inputs),
        Resources(cpus=settings.cpus_per_trial, gpus=0.0, time_limit=settings.trial_seconds),
    )


def _content(cycle: Cycle, spec: AgentSpec, implementation: type[Agent[Any]]) -> str:
    """Digest of what an examination rests on; empty where the agent's code cannot be seen."""
    code = code_of(implementation)
    if code is None:
        return ""
    space = spec.space.model_dump(mode="json")
    content = [spec.name, space, code, cycle.fingerprint, cycle.request.split]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _well(cycle: Cycle, agent: str, content: str) -> bool:
    """Whether it was examined before and always passed: who failed once is asked every time."""
    if not content:
        return False
    with session_scope(cycle.services.engine) as session:
        notes = trials.notes(session, agent, cycle.fingerprint)
    found = [note[HEALTH]["passed"] for note in notes if _is_of(note, content)]
    return bool(found) and all(found)


def _is_of(note: dict[str, Any], content: str) -> bool:
    return bool(note.get(HEALTH, {}).get("content") == content)


def _note(cycle: Cycle, row: TrialRow, told: dict[str, Any]) -> None:
    with session_scope(cycle.services.engine) as session:
        trials.add_note(session, stored_id(row), {HEALTH: told})
