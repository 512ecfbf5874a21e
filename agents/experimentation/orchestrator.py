"""The experiment orchestration agent: decides how a change is tried, and on whom.

What it may vary is the design (share of users, horizon, when alpha is spent, whether the past is
taken out). Its inner reward is the quality of the decisions that such a design leads to, at a
chance of false ones that people set (``rewards/experiments/quality.py``). It is not installed as an
agent: see ``docs/experiments.md`` for what evaluation would have to know first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.experimentation.experiment import Plan
from agenticrs.registry.spec import (
    AgentSpec,
    Choice,
    ClosedLoop,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
    Port,
)
from agenticrs.rewards.experiments.assignment import Ids, assign
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.rewards.experiments.quality import Design, Quality, Traffic, decision_quality


class ExperimentConfig(AgentConfig):
    """A design, what people set (alpha), and the salt that makes the assignment its own."""

    allocation: float = Field(default=0.5, gt=0, lt=1)
    """Share of the users who are shown the change."""
    horizon: int = Field(default=14, ge=1)
    """Steps after which it ends without a decision."""
    spent: float = Field(default=0.5, gt=0, le=1)
    """Part of the horizon at which intervals are narrowest: small, and alpha is spent early."""
    adjust: bool = True
    """Take out of rewards what users' past explains."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Chance of a false decision; not searched."""
    salt: str = "experiment"
    """Another experiment needs another one."""


class ExperimentOrchestrator(Agent[ExperimentConfig]):
    """Routes each user to an arm by a salted hash, and plans what is concluded when."""

    config_type = ExperimentConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="experiment_orchestrator",
        kind="functional",
        role="experimentation",
        summary="Tries a change on a share of the users, and says when it is shown to be better.",
        paper="Waudby-Smith et al. 2024, Time-uniform central limit theory (its intervals)",
        loop=ClosedLoop(
            inputs=(Port.USERS,),
            output=Port.ROUTE,
            executor="serving answers each user with the composition of the arm",
            feedback="watch_time",
        ),
        inner_reward=InnerReward(metric="decision_quality"),
        space=DecisionSpace(
            parameters=(
                FloatRange(name="allocation", low=0.05, high=0.9),
                IntRange(name="horizon", low=3, high=60, log=True),
                FloatRange(name="spent", low=0.05, high=1.0),
                Choice(name="adjust", values=(True, False)),
            )
        ),
        on_request=True,
        segments=("treatment", "control"),
    )

    @property
    def design(self) -> Design:
        """The config as a design."""
        c = self.config
        return Design(c.allocation, c.horizon, c.spent, c.adjust, c.alpha)

    def plan(self, users: int, guardrails: Sequence[Guardrail] = ()) -> Plan:
        """For an experiment with so many users a step."""
        return Plan(design=self.design, users=users, guardrails=tuple(guardrails))

    def arms(self, ids: Ids) -> Route:
        """Users by the ids that serving knows them by: 0 (treatment) or 1 (control)."""
        share = self.config.allocation
        return Route(assign(ids, self.config.salt, (share, 1 - share)))

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        """The same by index; a user without one cannot be told again, and stays in the control."""
        segment = self.arms(users.users.cpu().numpy()).segment.to(users.users.device)
        return Route(torch.where(users.users < 0, 1, segment))

    def quality(self, traffic: Traffic | None = None, *, runs: int = 200, seed: int) -> Quality:
        """The inner reward, simulated."""
        return decision_quality(self.design, traffic, runs=runs, seed=seed)
