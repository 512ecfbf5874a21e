"""An experiment: two arms, one question, an answer that may come at any step.

Like the canary a state machine without effects, kept as JSON between steps. It asks more: a canary
goes on with what does no harm, an experiment takes only what is shown to be better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agenticrs.agents.experimentation.observation import Observation, gather
from agenticrs.platform.errors import AgentError
from agenticrs.rewards.experiments.guardrails import Guardrail, Judged, judge
from agenticrs.rewards.experiments.sample_ratio import log_evidence
from agenticrs.rewards.experiments.sequential import Gathered

Outcome = Literal["go on", "treatment", "control", "ask"]
REWARD = Guardrail("reward", margin=0.01, larger_is_better=True, tolerated=0.0)


@dataclass(frozen=True)
class Design:
    """How an experiment is run."""

    allocation: float = 0.5
    """Share of the users who are shown the change, in (0, 1)."""
    horizon: int = 14
    """Steps after which it ends without a decision."""
    spent: float = 0.5
    """Part of the horizon at which intervals are narrowest: small, and alpha is spent early."""
    alpha: float = 0.05

    def __post_init__(self) -> None:
        inside = 0 < self.allocation < 1 and 0 < self.spent <= 1 and 0 < self.alpha < 1
        if not inside or self.horizon < 1:
            raise ValueError(f"allocation, spent, alpha or horizon is out of range: {self}")

    @property
    def shares(self) -> tuple[float, float]:
        """Of the users: who are shown the change, and who are not."""
        return self.allocation, 1 - self.allocation

    def planned(self, users: int) -> float:
        """Effective users at which intervals are narrowest, with so many users a step."""
        return self.spent * self.horizon * users * self.allocation * (1 - self.allocation)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Plan(_Frozen):
    """What is settled before the first user comes."""

    design: Design = Design()
    users: int = Field(default=10_000, ge=1)
    """Expected users a step, of both arms together."""
    reward: Guardrail = REWARD
    guardrails: tuple[Guardrail, ...] = ()
    ratio_alpha: float = Field(default=0.001, gt=0, lt=1)

    @property
    def metrics(self) -> tuple[Guardrail, ...]:
        """The reward, and what it may not cost."""
        return (self.reward, *self.guardrails)


class Experiment(_Frozen):
    """Where an experiment stands. ``Experiment(plan=...)`` begins one."""

    plan: Plan = Plan()
    step: int = 0
    seen: dict[str, Gathered] = {}
    exposed: tuple[int, int] = (0, 0)
    outcome: Outcome = "go on"
    reason: str = ""

    @property
    def ratio_p(self) -> float:
        """Always valid p-value of the arms' shares of the users."""
        return math.exp(min(0.0, -_ratio_evidence(self)))

    def judged(self) -> dict[str, Judged]:
        """Each metric now, with its interval; alpha is shared evenly among them."""
        design, metrics = self.plan.design, self.plan.metrics
        return {
            one.metric: judge(
                one,
                self.seen.get(one.metric, Gathered()),
                alpha=design.alpha / len(metrics),
                planned=design.planned(self.plan.users),
            )
            for one in metrics
        }


def observe(experiment: Experiment, observed: Observation) -> Experiment:
    """The experiment after another step.

    Raises AgentError when it is over, or a metric was not observed.
    """
    if experiment.outcome != "go on":
        raise AgentError(
            f"the experiment is over: {experiment.outcome}", hint="begin another, with a new salt"
        )
    after = experiment.model_copy(
        update={
            "step": experiment.step + 1,
            "seen": gather(experiment.seen, observed, experiment.plan.metrics),
            "exposed": (
                experiment.exposed[0] + observed.exposed[0],
                experiment.exposed[1] + observed.exposed[1],
            ),
        }
    )
    outcome, reason = _concluded(after)
    return after.model_copy(update={"outcome": outcome, "reason": reason})


def _concluded(experiment: Experiment) -> tuple[Outcome, str]:
    plan, judged = experiment.plan, experiment.judged()
    reward = judged[plan.reward.metric]
    spoilt = {name: found for name, found in judged.items() if found.verdict == "broken"}
    if spoilt:
        worst, found = min(spoilt.items(), key=lambda item: item[1].high)
        return "control", f"{worst} is worse: {found}"
    if _ratio_evidence(experiment) > -math.log(plan.ratio_alpha):
        shares = plan.design.shares
        return "ask", f"users are not shared as they should: {experiment.exposed} at {shares}"
    open_ones = [one.metric for one in plan.guardrails if judged[one.metric].verdict != "kept"]
    if reward.low > 0 and not open_ones:
        return "treatment", f"{plan.reward.metric} is better: {reward}"
    if experiment.step < plan.design.horizon:
        return "go on", f"step {experiment.step} of {plan.design.horizon}: {reward}"
    if reward.low > 0:
        return "ask", f"{plan.reward.metric} is better: {reward}, but not sure: {open_ones}"
    return "control", f"not shown to be better in {experiment.step} steps: {reward}"


def _ratio_evidence(experiment: Experiment) -> float:
    if not sum(experiment.exposed):
        return 0.0
    return log_evidence(experiment.exposed, experiment.plan.design.shares)
