"""The ranker keeps the promises that all agents make."""

from __future__ import annotations

from typing import Any, ClassVar

from agenticrs.agents.contract import AgentContract
from agenticrs.agents.ranking.dcn import DcnV2


class TestDcnV2(AgentContract):
    agent_type = DcnV2
    config: ClassVar[dict[str, Any]] = {"embedding_size": 4, "deep": 8, "epochs": 2, "negatives": 5}
