from __future__ import annotations

import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.contract import AgentContract, small_log
from agenticrs.agents.routing.activity import ActivityRouter, ActivityRouterConfig


class TestContract(AgentContract):
    agent_type = ActivityRouter


def test_the_tiers_hold_the_declared_shares_and_no_history_is_light() -> None:
    router = ActivityRouter(ActivityRouterConfig(light=0.5, heavy=0.4))
    router.fit(small_log(), Budget())
    histories = small_log().histories
    route = router.act(histories, (), 10).segment
    shares = torch.bincount(route, minlength=3) / len(route)
    assert abs(float(shares[0]) - 0.5) < 0.15
    assert float(histories.lengths[route == 1].min()) > float(histories.lengths[route == 2].max())
    nobody = UserBatch(torch.tensor([-1]), torch.tensor([0, 0]), torch.zeros(0).long())
    assert router.act(nobody, (), 10).segment.tolist() == [0]
