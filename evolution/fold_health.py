"""Whether the data of a cycle are sound: the checks of its fold, once for a snapshot and split."""

from __future__ import annotations

from agenticrs.agents.health.folds import check_fold
from agenticrs.evolution.cycle import Cycle, Result
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.job import Job, Resources, Succeeded
from agenticrs.registry import cycles, provenance

FOLD = "fold"
"""Where the step that senses keeps what was found."""
_EARLIER = 20
"""Newest cycles of the surface that are looked at; each hands on what it took from one before."""


def examined(cycle: Cycle) -> Result:
    """What the checks of the fold say, as a job of its own, or what they said to an earlier cycle.

    ``passed``, ``checks`` (name, passed, detail, advice), ``seconds``, the ``cycle`` that asked,
    and what the answer holds for: fingerprint, split and code. Only what passed is taken again.
    """
    valid_for = {
        "fingerprint": cycle.fingerprint,
        "split": cycle.request.split,
        "code": provenance.code_version(),
    }
    with session_scope(cycle.services.engine) as session:
        steps = cycles.results(session, cycle.surface, "sense", _EARLIER)
    for found in (step.result.get(FOLD, {}) for step in reversed(steps)):
        if found.get("passed") and valid_for.items() <= found.items():
            return dict(found)
    return {**valid_for, "cycle": cycle.id, **_asked(cycle)}


def demand(found: Result) -> None:
    """Raise EvolutionError, which names the check and what is wrong, unless all checks passed."""
    if found["passed"]:
        return
    failures = [row for row in found["checks"] if not row["passed"]]
    told = "; ".join(f"{row['name']}: {row['detail']}" for row in failures)
    raise EvolutionError(
        f"the data cannot be evolved on, split {found['split']}: {told}",
        hint="; ".join(row["advice"] for row in failures),
    )


def _asked(cycle: Cycle) -> Result:
    settings = cycle.services.settings
    job = Job(
        f"cycle-{cycle.id}/fold/health",
        check_fold,
        (cycle.shared_fold,),
        Resources(cpus=settings.cpus_per_trial, gpus=0.0, time_limit=settings.trial_seconds),
    )
    (outcome,) = cycle.runner.run([job])
    if isinstance(outcome, Succeeded):
        passed, checks = outcome.value.passed, outcome.value.as_json()
        cycle.say(f"checks of the data: {outcome.value.summary()}, {outcome.seconds:.1f} s")
    else:  # what nobody could look at is not sound
        passed, checks = False, [_unasked(f"{outcome.cause}: {outcome.message}")]
    return {"passed": passed, "checks": checks, "seconds": round(outcome.seconds, 2)}


def _unasked(fault: str) -> Result:
    advice = "see the error; AGENTICRS_TRIAL_SECONDS is the time that the checks have"
    return {
        "name": "the data can be checked",
        "passed": False,
        "detail": fault,
        "advice": advice,
    }
