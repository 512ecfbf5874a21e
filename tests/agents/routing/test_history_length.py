from __future__ import annotations

import torch

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.contract import AgentContract
from agenticrs.agents.routing.history_length import (
    HistoryLengthRouter,
    HistoryLengthRouterConfig,
)


class TestContract(AgentContract):
    agent_type = HistoryLengthRouter


def test_users_below_the_threshold_are_cold() -> None:
    users = UserBatch(torch.arange(3), torch.tensor([0, 0, 2, 5]), torch.arange(5))
    router = HistoryLengthRouter(HistoryLengthRouterConfig(threshold=3))
    assert router.act(users, (), 10).segment.tolist() == [0, 0, 1]
    assert router.spec.segments == ("cold", "warm")
