"""The experiment orchestration agent: decides how a change is brought to the users, and on whom.

What it may vary are the rules of the canary ladder that people leave open: its stages, how many
users and steps each of them sees, when alpha is spent, how long nothing may be decided, how much of
the margins is used, and whether the past is taken out. Its inner reward is the quality of the
decisions that such rules lead to, on generated canaries (``rewards/experiments/quality.py``). How
often a decision may be false, and how much may be lost, is set by people and not searched. The
canaries of a surface follow the rules of its champion (``evolution/canaries/rollout.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field, field_validator

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.experimentation.canary import Ladder
from agenticrs.agents.experimentation.experiment import Design, Plan
from agenticrs.registry.spec import (
    AgentSpec,
    Choice,
    ClosedLoop,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
    Limit,
    Port,
)
from agenticrs.rewards.experiments.assignment import Ids, assign
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.rewards.experiments.quality import Course

LADDERS = ("1-5-10-25-50-100", "1-2-5-10-25-50-100", "1-10-50-100", "5-10-25-50-100", "5-25-100")
"""Stages in percent. None begins above 5: what is bad must be met by few."""


class ExperimentConfig(AgentConfig):
    """What a canary's rules leave open, and the salt that makes an assignment its own."""

    ladder: str = LADDERS[0]
    """Stages in percent of the users, rising to 100."""
    users: int = Field(default=200, ge=10)
    """In the canary, at each stage, before the next."""
    steps: int = Field(default=1, ge=1)
    """At each stage, before the next."""
    patience: int = Field(default=30, ge=7)
    """Steps at one stage after which a person is asked."""
    planned: float = Field(default=2000.0, gt=0)
    """Effective users at which intervals are narrowest: few, and alpha is spent early."""
    caution: float = Field(default=1.0, gt=0, le=1)
    """Part of the margins that people allow which it uses."""
    adjust: bool = True
    """Take out of the reward what the past explains."""
    salt: str = "experiment"
    """Another experiment needs another one."""

    @field_validator("ladder")
    @classmethod
    def _rises(cls, ladder: str) -> str:
        Course(stages=stages_of(ladder))
        return ladder


class ExperimentOrchestrator(Agent[ExperimentConfig]):
    """Plans how few users see a change first, how many next, and when what was seen suffices."""

    config_type = ExperimentConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="experiment_orchestrator",
        kind="functional",
        role="experimentation",
        summary="Plans canaries: who sees a change, for how long, and when it may go on.",
        paper="Waudby-Smith et al. 2024, Time-uniform central limit theory (its intervals)",
        loop=ClosedLoop(
            inputs=(Port.USERS,),
            output=Port.ROUTE,
            executor="the canary ladder follows its rules; serving answers each user by their arm",
            feedback="watch_time",
        ),
        inner_reward=InnerReward(metric="decision_quality"),
        space=DecisionSpace(
            parameters=(
                Choice(name="ladder", values=LADDERS),
                IntRange(name="users", low=50, high=2000, log=True),
                IntRange(name="steps", low=1, high=7),
                IntRange(name="patience", low=10, high=60),
                FloatRange(name="planned", low=200.0, high=50_000.0, log=True),
                FloatRange(name="caution", low=0.25, high=1.0),
                Choice(name="adjust", values=(True, False)),
            ),
            limits=(Limit(metric="harm_caught_early", least=0.9),),
        ),
        on_request=True,
        segments=("treatment", "control"),
    )

    @property
    def course(self) -> Course:
        """What is judged: the rules, with the usual margins in place of the people's."""
        c, usual = self.config, Course()
        return Course(
            stages=stages_of(c.ladder),
            users=c.users,
            steps=c.steps,
            patience=max(c.patience, c.steps),
            planned=c.planned,
            adjust=c.adjust,
            margins=tuple(c.caution * margin for margin in usual.margins),
        )

    def ladder(
        self, reward: Guardrail, guardrails: Sequence[Guardrail] = (), *, alpha: float
    ) -> Ladder:
        """The rules of a canary within what people allow: margins, and the chance of error."""
        c = self.config
        return Ladder(
            stages=stages_of(c.ladder),
            reward=reward.tightened(c.caution),
            guardrails=tuple(one.tightened(c.caution) for one in guardrails),
            alpha=alpha,
            users=c.users,
            steps=c.steps,
            patience=max(c.patience, c.steps),
            planned=c.planned,
            adjust=c.adjust,
        )

    def plan(
        self,
        reward: Guardrail,
        guardrails: Sequence[Guardrail] = (),
        *,
        alpha: float,
        allocation: float,
        horizon: int,
        users: int,
    ) -> Plan:
        """The plan of an experiment within what people allow, with alpha spent as in a canary.

        ``users``: expected a step, of both arms together. Raises ValueError for what is no design.
        """
        effective = horizon * users * allocation * (1 - allocation)
        spent = min(1.0, self.config.planned / effective) if effective > 0 else 1.0
        return Plan(
            design=Design(allocation=allocation, horizon=horizon, spent=spent, alpha=alpha),
            users=users,
            reward=reward.tightened(self.config.caution),
            guardrails=tuple(one.tightened(self.config.caution) for one in guardrails),
        )

    def arms(self, ids: Ids) -> Route:
        """Users by the ids that serving knows them by, at the first stage: 0 treatment, 1 control.

        Later stages keep them: the first arm grows by its border.
        """
        share = stages_of(self.config.ladder)[0]
        return Route(assign(ids, self.config.salt, (share, 1 - share)))

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        """The same by index; a user without one cannot be told again, and stays in the control."""
        segment = self.arms(users.users.cpu().numpy()).segment.to(users.users.device)
        return Route(torch.where(users.users < 0, 1, segment))


def stages_of(ladder: str) -> tuple[float, ...]:
    """Stages like 1-10-100 as shares; raises ValueError when it is no row of numbers."""
    return tuple(float(part) / 100 for part in ladder.split("-"))
