from __future__ import annotations

import pytest
import torch

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.contract import AgentContract
from agenticrs.agents.objectives.configurator import ConfiguratorConfig, ObjectiveConfigurator
from agenticrs.agents.probe import AgentProbe
from agenticrs.registry.admission import admit
from agenticrs.rewards.objectives import Objective, Weights


class TestContract(AgentContract):
    agent_type = ObjectiveConfigurator


def test_it_is_admitted() -> None:
    report = admit(ObjectiveConfigurator.spec, AgentProbe(ObjectiveConfigurator))
    assert report.admitted, [check for check in report.checks if not check.passed]


def test_it_weighs_only_what_people_weigh_and_risk_never_less_than_now() -> None:
    generator = torch.Generator().manual_seed(0)
    names: tuple[Objective, ...] = ("watch_time", "retention", "risk")
    lifts = {name: torch.randn(3000, generator=generator) for name in names}
    later = lifts["retention"] + 0.1 * torch.randn(3000, generator=generator)
    present = Weights(watch_time=1, retention=1, risk=0.5)
    agent = ObjectiveConfigurator(ConfiguratorConfig(belief=1.0))
    found = agent.propose(lifts, later, present).shares
    assert found["risk"] == pytest.approx(0.2)
    assert found["retention"] == pytest.approx(0.8, abs=0.02)
    assert set(found) <= {"watch_time", "retention", "risk"}


def test_users_teach_or_verify_and_stay_what_they_are() -> None:
    n = 2000
    nothing = torch.zeros(0, dtype=torch.int64)
    users = UserBatch(torch.arange(n), torch.zeros(n + 1, dtype=torch.int64), nothing)
    agent = ObjectiveConfigurator(ConfiguratorConfig(teaching=0.3))
    segment = agent.act(users, (), 1).segment
    assert float((segment == 0).float().mean()) == pytest.approx(0.3, abs=0.04)
    assert torch.equal(agent.act(users, (), 1).segment, segment)
