"""How good what serves has been: each time that a cycle measured it, and what users bring now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from pydantic import ValidationError
from sqlmodel import Session

from agenticrs.evolution.evidence import Evidence
from agenticrs.registry import cycles, feedback, promotion
from agenticrs.registry.tables import StepRow
from agenticrs.ui.api.dependencies import AppDependencies
from agenticrs.ui.console import curves
from agenticrs.ui.console.curves import Measured

_CYCLES = 60
"""Newest cycles that the picture goes back to."""
_EVENTS = 2000
"""Newest events of feedback that the picture goes back to."""


def reward_trend(session: Session, surface: str) -> Markup:
    """Outer reward of what served, measured on users that no search saw, with its intervals."""
    served = {row.after: row.at for row in promotion.history(session, surface, limit=200)}
    found = []
    for step in [
        *cycles.results(session, surface, "select", _CYCLES),
        *cycles.results(session, surface, "approve", _CYCLES),
    ]:
        evidence = _evidence(step)
        if evidence is None or step.finished_at is None:
            continue
        before, href = evidence.reward.before, f"/cycles/{step.cycle_id}"
        found.append(
            Measured(
                step.finished_at,
                before.mean,
                before.low,
                before.high,
                f"cycle {step.cycle_id}: what served had {before.mean:.4f}",
                href,
                promoted=False,
            )
        )
        number = step.result.get("composition")
        if number in served:
            after = evidence.reward.after
            found.append(
                Measured(
                    max(served[number], step.finished_at),
                    after.mean,
                    after.low,
                    after.high,
                    f"composition {number} serves: {after.mean:.4f}",
                    f"/compositions/{number}",
                    promoted=True,
                )
            )
    return curves.of_serving(sorted(found, key=lambda one: one.at))


def feedback_trend(session: Session, deps: AppDependencies) -> tuple[str, Markup]:
    """The behaviour that the business counts, and its mean over what users did lately."""
    if deps.serving.status.composition is None:
        return "", Markup("")
    dataset = deps.serving.loaded.dataset
    behaviour = dataset.value or dataset.positive.behaviour
    rows = feedback.recent(session, deps.serving.status.dataset, _EVENTS)
    return behaviour, curves.of_feedback(rows, behaviour)


def _evidence(step: StepRow) -> Evidence | None:
    """The evidence in a step's result; None where there is none, or of another release."""
    found: Any = step.result.get("evidence")
    if not isinstance(found, Mapping):
        return None
    try:
        return Evidence.model_validate(found)
    except ValidationError:
        return None
