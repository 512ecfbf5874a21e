"""The canary ladder: a change reaches 1, 5, 10, 25, 50, 100 % of the users, or goes back.

A state machine without effects: ``step`` takes a state and what one step (an hour, a day) has
shown, and gives the next state with a decision and its reason. Whoever calls it moves the traffic,
keeps the state (JSON) and asks people. It can be stopped and resumed between any two steps.

============ ===================================================================================
decision     when
============ ===================================================================================
roll back    a guardrail is broken, or the reward is worse: established, not suspected
ask          arms have not got their shares of the users, or nothing was decided in ``patience``
             steps; then the canary is paused until a person answers
advance      enough users were seen, and the *next* stage cannot cost all users together more than
             each metric's margin, at the lower end of what is plausible
hold         else
============ ===================================================================================

All verdicts are always valid (``rewards/experiments/sequential.py``), so looking every step costs
nothing: over the whole ladder, all metrics and all looks together, the chance of rolling back what
does no harm, or of going on with what does more than is allowed, is at most ``alpha``.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agenticrs.agents.experimentation.observation import Observation, gather
from agenticrs.platform.errors import AgentError
from agenticrs.rewards.experiments.guardrails import Guardrail, Judged, judge
from agenticrs.rewards.experiments.sample_ratio import log_evidence
from agenticrs.rewards.experiments.sequential import Gathered

Decision = Literal["advance", "hold", "roll back", "ask"]
Status = Literal["running", "paused", "rolled back", "promoted"]
Answer = Literal["watch", "advance", "roll back"]
STAGES = (0.01, 0.05, 0.10, 0.25, 0.50, 1.0)
REWARD = Guardrail("reward", margin=0.01, larger_is_better=True, tolerated=0.0)
"""Worse at all is broken; a stage may risk one hundredth of what all users bring."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ladder(_Frozen):
    """The rules of a canary, set before it begins."""

    stages: tuple[float, ...] = STAGES
    """Shares of the users, rising to 1."""
    reward: Guardrail = REWARD
    guardrails: tuple[Guardrail, ...] = ()
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """For all metrics together; each gets an even part."""
    users: int = Field(default=200, ge=10)
    """In the canary, at each stage, before the next."""
    steps: int = Field(default=1, ge=1)
    """At each stage, before the next: 7 days see a whole week."""
    patience: int = Field(default=30, ge=1)
    """Steps at one stage after which a person is asked."""
    planned: float = Field(default=2000.0, gt=0)
    """Effective users (n1 n0 / (n1 + n0)) at which intervals are narrowest."""
    ratio_alpha: float = Field(default=0.001, gt=0, lt=1)
    """Chance of ever suspecting the assignment while it is right."""
    adjust: bool = False
    """Whoever observes takes out of the reward what the past explains (CUPED)."""

    @model_validator(mode="after")
    def _check(self) -> Ladder:
        rising = all(a < b for a, b in zip(self.stages, self.stages[1:], strict=False))
        if len(self.stages) < 2 or not rising or self.stages[0] <= 0 or self.stages[-1] != 1:
            raise ValueError(f"stages must rise from above 0 to 1, got {self.stages}")
        names = [one.metric for one in self.metrics]
        if len(set(names)) != len(names):
            raise ValueError(f"a metric is guarded twice: {', '.join(names)}")
        if self.patience < self.steps:
            raise ValueError(f"patience {self.patience} ends before the {self.steps} steps")
        return self

    @property
    def metrics(self) -> tuple[Guardrail, ...]:
        """The reward, and what it may not cost."""
        return (self.reward, *self.guardrails)


class Canary(_Frozen):
    """Where a canary stands. ``Canary(ladder=...)`` begins one."""

    ladder: Ladder = Ladder()
    stage: int = 0
    step: int = 0
    """Steps so far; ``since`` counts those at this stage, ``users`` the canary's at this stage."""
    since: int = 0
    users: int = 0
    seen: dict[str, Gathered] = {}
    exposed: tuple[int, int] = (0, 0)
    """At this stage; the evidence of earlier stages against their shares is kept as a sum."""
    ratio_evidence: float = 0.0
    status: Status = "running"
    decision: Decision = "hold"
    reason: str = ""

    @property
    def share(self) -> float:
        """Of the users, whom the change is shown to now."""
        return 0.0 if self.status == "rolled back" else self.ladder.stages[self.stage]

    @property
    def next_share(self) -> float:
        """Of the next stage; 1 behind the last."""
        stages = self.ladder.stages
        return stages[min(self.stage + 1, len(stages) - 1)]

    @property
    def ratio_p(self) -> float:
        """Always valid p-value of the arms' shares of the users, over all stages."""
        return math.exp(min(0.0, -_ratio_evidence(self)))

    def verdicts(self) -> dict[str, Judged]:
        """Each metric, judged for the next stage."""
        rules = self.ladder
        return {
            one.metric: judge(
                one,
                self.seen.get(one.metric, Gathered()),
                alpha=rules.alpha / len(rules.metrics),
                planned=rules.planned,
                share=self.next_share,
            )
            for one in rules.metrics
        }


def step(canary: Canary, observed: Observation) -> Canary:
    """The next state. Raises AgentError when it does not run, or a metric was not observed."""
    if canary.status != "running":
        raise AgentError(
            f"the canary is {canary.status}",
            hint="answer it first" if canary.status == "paused" else "begin another one",
        )
    seen = _gathered(canary, observed)
    after = seen.verdicts()
    broken = {name: found for name, found in after.items() if found.verdict == "broken"}
    if broken:
        worst, found = min(broken.items(), key=lambda item: item[1].high)
        return _decided(seen, "roll back", "rolled back", f"{worst} is worse: {found}")
    if _ratio_evidence(seen) > -math.log(seen.ladder.ratio_alpha):
        return _decided(seen, "ask", "paused", f"users are not shared as they should: {_say(seen)}")
    waiting = _waiting_for(seen, after)
    if not waiting:
        name = seen.ladder.reward.metric
        return _advanced(seen, f"{name}: {after[name]}")
    if seen.since >= seen.ladder.patience:
        why = f"undecided after {seen.since} steps at {seen.share:.0%}: {waiting}"
        return _decided(seen, "ask", "paused", why)
    return _decided(seen, "hold", "running", waiting)


def answer(canary: Canary, choice: Answer, *, reason: str) -> Canary:
    """What a person says to a paused canary; guardrails watch on whatever it is.

    ``watch`` stays at this stage with new patience, ``advance`` answers for the next stage without
    proof. Counts that were suspected are forgotten by both, what was seen of the metrics is not.
    Raises AgentError when nothing was asked.
    """
    if canary.status != "paused":
        raise AgentError(f"nothing was asked: the canary is {canary.status}")
    if choice == "roll back":
        return _decided(canary, "roll back", "rolled back", reason)
    trusted = canary.model_copy(update={"since": 0, "exposed": (0, 0), "ratio_evidence": 0.0})
    if choice == "advance":
        return _advanced(trusted, reason)
    return _decided(trusted, "hold", "running", reason)


def _gathered(canary: Canary, observed: Observation) -> Canary:
    name = canary.ladder.reward.metric
    return canary.model_copy(
        update={
            "seen": gather(canary.seen, observed, canary.ladder.metrics),
            "step": canary.step + 1,
            "since": canary.since + 1,
            "users": canary.users + observed.treatment[name].n,
            "exposed": (
                canary.exposed[0] + observed.exposed[0],
                canary.exposed[1] + observed.exposed[1],
            ),
        }
    )


def _ratio_evidence(canary: Canary) -> float:
    # The stage's share: one that was rolled back is shown to nobody any more.
    share = canary.ladder.stages[canary.stage]
    if not sum(canary.exposed) or share == 1:
        return canary.ratio_evidence
    return canary.ratio_evidence + log_evidence(canary.exposed, (share, 1 - share))


def _waiting_for(canary: Canary, judged: dict[str, Judged]) -> str:
    """What is missing for the next stage; empty when nothing is."""
    rules = canary.ladder
    if canary.users < rules.users:
        return f"{canary.users} of {rules.users} users seen"
    if canary.since < rules.steps:
        return f"{canary.since} of {rules.steps} steps seen"
    for name, found in judged.items():
        if found.verdict == "undecided":
            return f"{name} may still be too bad for the next stage: {found}"
    return ""


def _advanced(canary: Canary, reason: str) -> Canary:
    moved = canary.model_copy(
        update={
            "stage": canary.stage + 1,
            "since": 0,
            "users": 0,
            "exposed": (0, 0),
            "ratio_evidence": _ratio_evidence(canary),
        }
    )
    status: Status = "promoted" if canary.next_share == 1 else "running"
    return _decided(moved, "advance", status, reason)


def _decided(canary: Canary, decision: Decision, status: Status, reason: str) -> Canary:
    return canary.model_copy(update={"decision": decision, "status": status, "reason": reason})


def _say(canary: Canary) -> str:
    treated, controls = canary.exposed
    share = treated / max(1, treated + controls)
    return f"{treated} and {controls}, {share:.2%} instead of {canary.share:.2%}"
