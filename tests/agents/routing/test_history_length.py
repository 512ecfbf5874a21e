from __future__ import annotations

from agenticrs.agents.routing.history_length import HistoryLengthRouter
from agenticrs.agents.contract import AgentContract


class TestHistoryLengthRouter(AgentContract):
    agent_type = HistoryLengthRouter
