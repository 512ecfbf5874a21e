from __future__ import annotations

from agenticrs.agents.reranking.mmr import Mmr
from agenticrs.agents.contract import AgentContract


class TestMmr(AgentContract):
    agent_type = Mmr
