"""Every retriever keeps the promises that all agents make."""

from __future__ import annotations

from typing import Any, ClassVar

from agenticrs.agents.contract import AgentContract
from agenticrs.agents.retrieval.bpr import BprMF
from agenticrs.agents.retrieval.ease import Ease
from agenticrs.agents.retrieval.itemknn import ItemKNN
from agenticrs.agents.retrieval.popularity import Popularity
from agenticrs.agents.retrieval.sasrec import SASRec


class TestPopularity(AgentContract):
    agent_type = Popularity


class TestItemKNN(AgentContract):
    agent_type = ItemKNN


class TestEase(AgentContract):
    agent_type = Ease


class TestBprMF(AgentContract):
    agent_type = BprMF
    config: ClassVar[dict[str, Any]] = {"embedding_size": 8, "epochs": 3}


class TestSASRec(AgentContract):
    agent_type = SASRec
    config: ClassVar[dict[str, Any]] = {"embedding_size": 8, "epochs": 3, "max_length": 6}


class TestSASRecWithSampledNegatives(AgentContract):
    agent_type = SASRec
    config: ClassVar[dict[str, Any]] = {
        "embedding_size": 8,
        "epochs": 3,
        "max_length": 6,
        "loss": "bce",
    }
