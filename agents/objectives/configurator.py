"""The objective-configuration agent: proposes weights of the objectives that are known early.

What people want in the end is known late. Its decision is how weights of the early objectives are
learnt from users of whom both are known (``rewards/surrogate.py``), and which users teach and which
verify. It proposes only: an experiment must show that what the new weights would choose is worth
more later, and a person decides (``evolution/objective_configuration.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.registry.spec import (
    AgentSpec,
    ClosedLoop,
    DecisionSpace,
    FloatRange,
    InnerReward,
    Port,
)
from agenticrs.rewards.experiments.assignment import assign
from agenticrs.rewards.objectives import OBJECTIVES, UNWANTED, Objective, Weights
from agenticrs.rewards.surrogate import Scheme, fit_weights

TEACH, VERIFY = 0, 1


class ConfiguratorConfig(AgentConfig):
    """How far the proposals go from what people have set."""

    belief: float = Field(default=100.0, gt=0)
    """Users' worth of belief in the present weights."""
    least: float = Field(default=0.02, ge=0, lt=0.2)
    """Objectives with a smaller share are left out."""
    teaching: float = Field(default=0.5, gt=0, lt=1)
    """Share of the users who teach; the others verify."""
    salt: str = "objectives"


class ObjectiveConfigurator(Agent[ConfiguratorConfig]):
    """Weights by which early objectives tell best what users are worth later."""

    config_type = ConfiguratorConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="objective_configurator",
        kind="functional",
        role="planning",
        summary="Proposes how much each business objective should count, for a person to decide.",
        paper="Athey, Chetty, Imbens & Kang 2019, The surrogate index",
        loop=ClosedLoop(
            inputs=(Port.USERS,),
            output=Port.ROUTE,
            executor="users who teach give the weights, the others verify them; a person decides",
            feedback="watch_time",
        ),
        inner_reward=InnerReward(metric="objective_quality"),
        space=DecisionSpace(
            parameters=(
                FloatRange(name="belief", low=3.0, high=3000.0, log=True),
                FloatRange(name="least", low=0.0, high=0.15),
            )
        ),
        on_request=True,
        segments=("teach", "verify"),
    )

    @property
    def scheme(self) -> Scheme:
        """How weights are learnt: what is judged."""
        return Scheme(self.config.belief, self.config.least)

    def propose(
        self, lifts: Mapping[Objective, Tensor], later: Tensor, present: Weights
    ) -> Weights:
        """New weights, of the objectives that people weigh now; risk never counts less than now.

        ``lifts`` (N,) are early objectives over their references, less 1, ``later`` (N,) the same
        of the late one.
        """
        held = present.shares
        names = [name for name in OBJECTIVES if name in held]
        wanted = torch.stack(
            [lifts[n].to(torch.float64) * (-1.0 if n in UNWANTED else 1.0) for n in names], 1
        )
        before = torch.tensor([held[name] for name in names], dtype=torch.float64)
        found = fit_weights(wanted, later, before, self.scheme).tolist()
        shares = dict(zip(names, found, strict=True))
        guarded = {name: max(shares[name], held[name]) for name in names if name in UNWANTED}
        free = {name: share for name, share in shares.items() if name not in guarded}
        left, total = 1 - sum(guarded.values()), sum(free.values())
        if total <= 0:
            return present
        free = {name: left * share / total for name, share in free.items()}
        return Weights.model_validate({**free, **guarded})

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        """0 (teaches) or 1 (verifies); a user without an index verifies."""
        share = self.config.teaching
        ids = users.users.cpu().numpy()
        segment = assign(ids, self.config.salt, (share, 1 - share)).to(users.users.device)
        return Route(torch.where(users.users < 0, VERIFY, segment))
