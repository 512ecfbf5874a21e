"""The rules of a surface's next canary: people's margins, and the course of the agent for it.

What may be lost, and how often a decision may be false, stands in the settings. What is left open
(stages, how many see each of them, when alpha is spent) is as the experiment orchestration agent's
champion has it, or as that agent is by default while it has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from agenticrs.agents.experimentation.canary import Ladder
from agenticrs.agents.experimentation.orchestrator import ExperimentConfig, ExperimentOrchestrator
from agenticrs.platform.database import session_scope
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import versions
from agenticrs.rewards.experiments.guardrails import Guardrail

REWARD, LEAVING, LATENCY = "reward", "leaving", "latency"
_WORST = 3.0
"""Margins that even the few who see an early stage may lose at most of a guardrail."""


@dataclass(frozen=True)
class Rules:
    """A ladder, and whose it is."""

    ladder: Ladder
    by: str


def ladder_of(settings: Settings, config: ExperimentConfig | None = None) -> Ladder:
    """The margins of the settings, and what the agent's config says of all else."""
    guarded = {LEAVING: settings.canary_leaving, LATENCY: settings.canary_latency}
    return ExperimentOrchestrator(config or ExperimentConfig()).ladder(
        Guardrail(REWARD, margin=settings.canary_margin, larger_is_better=True, tolerated=0.0),
        [Guardrail(name, margin=m, worst=_WORST * m) for name, m in guarded.items() if m],
        alpha=settings.alpha,
    )


def rules_of(engine: Engine, tracking: Tracking, settings: Settings, surface: str) -> Rules:
    """What the next canary on the surface follows. Raises TrackingError when MLflow is away."""
    config, by = course_of(engine, tracking, surface)
    return Rules(ladder_of(settings, config), by)


def course_of(engine: Engine, tracking: Tracking, surface: str) -> tuple[ExperimentConfig, str]:
    """The course of the agent's champion on the surface, else its defaults, and whose it is."""
    name = ExperimentOrchestrator.spec.name
    model = versions.model_name(surface, name)
    number = tracking.aliases([model]).get(model, {}).get("champion")
    if number is None:
        return ExperimentConfig(), f"{name} at its defaults"
    with session_scope(engine) as session:
        config = versions.get(session, surface, name, number).config
    return ExperimentConfig.model_validate(config), f"{name} version {number}"
