from __future__ import annotations

from agenticrs.agents.fusion.reciprocal_rank import ReciprocalRankFusion
from agenticrs.agents.contract import AgentContract


class TestReciprocalRankFusion(AgentContract):
    agent_type = ReciprocalRankFusion
