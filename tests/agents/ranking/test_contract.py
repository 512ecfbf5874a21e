"""Every ranker keeps the promises that all agents make."""

from __future__ import annotations

from typing import Any, ClassVar

from agenticrs.agents.contract import AgentContract
from agenticrs.agents.ranking.classics import (
    DeepFm,
    Din,
    FactorisationMachine,
    LogisticRegression,
)
from agenticrs.agents.ranking.dcn import DcnV2
from agenticrs.agents.ranking.multi_task import Mmoe, Ple
from agenticrs.agents.ranking.towers import ColdTower, ExpertRouter, LongTower, Towers

TOWERS: dict[str, Any] = {
    "embedding_size": 4,
    "hidden": 8,
    "long_hidden": 4,
    "cold_hidden": 4,
    "epochs": 2,
    "negatives": 5,
}


class TestDcnV2(AgentContract):
    agent_type = DcnV2
    config: ClassVar[dict[str, Any]] = {"embedding_size": 4, "deep": 8, "epochs": 2, "negatives": 5}


class TestLogisticRegression(AgentContract):
    agent_type = LogisticRegression
    config: ClassVar[dict[str, Any]] = {"epochs": 2, "negatives": 5}


class TestFactorisationMachine(AgentContract):
    agent_type = FactorisationMachine
    config: ClassVar[dict[str, Any]] = {"embedding_size": 4, "epochs": 2, "negatives": 5}


class TestDeepFm(AgentContract):
    agent_type = DeepFm
    config: ClassVar[dict[str, Any]] = {
        "embedding_size": 4,
        "hidden": 8,
        "epochs": 2,
        "negatives": 5,
    }


class TestDin(AgentContract):
    agent_type = Din
    config: ClassVar[dict[str, Any]] = {
        "embedding_size": 4,
        "hidden": 8,
        "epochs": 2,
        "negatives": 5,
    }


class TestMmoe(AgentContract):
    agent_type = Mmoe
    config: ClassVar[dict[str, Any]] = {"embedding_size": 4, "hidden": 4, "experts": 2}


class TestPle(AgentContract):
    agent_type = Ple
    config: ClassVar[dict[str, Any]] = {"embedding_size": 4, "hidden": 4, "experts": 2}


class TestTowers(AgentContract):
    agent_type = Towers
    config: ClassVar[dict[str, Any]] = TOWERS


class TestLongTower(AgentContract):
    agent_type = LongTower
    config: ClassVar[dict[str, Any]] = TOWERS


class TestColdTower(AgentContract):
    agent_type = ColdTower
    config: ClassVar[dict[str, Any]] = TOWERS


class TestExpertRouter(AgentContract):
    agent_type = ExpertRouter
    config: ClassVar[dict[str, Any]] = TOWERS
