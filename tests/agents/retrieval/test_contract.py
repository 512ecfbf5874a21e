"""Every retriever keeps the promises that all agents make."""

from __future__ import annotations

from typing import Any, ClassVar

from agenticrs.agents.contract import AgentContract
from agenticrs.agents.retrieval.bpr import BprMF
from agenticrs.agents.retrieval.cooccurrence import Cooccurrence
from agenticrs.agents.retrieval.ease import Ease
from agenticrs.agents.retrieval.gru4rec import Gru4Rec
from agenticrs.agents.retrieval.hstu import Hstu
from agenticrs.agents.retrieval.ials import Ials
from agenticrs.agents.retrieval.itemknn import ItemKNN
from agenticrs.agents.retrieval.lightgcn import LightGcn
from agenticrs.agents.retrieval.popularity import Popularity
from agenticrs.agents.retrieval.sasrec import SASRec
from agenticrs.agents.retrieval.slim import Slim
from agenticrs.agents.retrieval.trending import Trending
from agenticrs.agents.retrieval.two_tower import TwoTower


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


class TestSASRecWithAllOptions(AgentContract):
    agent_type = SASRec
    config: ClassVar[dict[str, Any]] = {
        "embedding_size": 8,
        "epochs": 2,
        "max_length": 6,
        "norm": "post",
        "positions": "relative",
        "loss": "gbce",
        "heads": 2,
        "times": 8,
    }


class TestGru4Rec(AgentContract):
    agent_type = Gru4Rec
    config: ClassVar[dict[str, Any]] = {"embedding_size": 8, "epochs": 3, "max_length": 6}


class TestHstu(AgentContract):
    agent_type = Hstu
    config: ClassVar[dict[str, Any]] = {"embedding_size": 8, "epochs": 3, "max_length": 6}


class TestLightGcn(AgentContract):
    agent_type = LightGcn
    config: ClassVar[dict[str, Any]] = {"embedding_size": 8, "epochs": 3, "negatives": 16}


class TestTwoTower(AgentContract):
    agent_type = TwoTower
    config: ClassVar[dict[str, Any]] = {"embedding_size": 8, "hidden": 8, "epochs": 3}


class TestTwoTowerOfContentAlone(AgentContract):
    agent_type = TwoTower
    config: ClassVar[dict[str, Any]] = {
        "embedding_size": 8,
        "hidden": 8,
        "epochs": 3,
        "ids": False,
    }


class TestIals(AgentContract):
    agent_type = Ials
    config: ClassVar[dict[str, Any]] = {"embedding_size": 8, "epochs": 2}


class TestSlim(AgentContract):
    agent_type = Slim
    config: ClassVar[dict[str, Any]] = {"l1": 0.1, "l2": 5.0, "penalty": 10.0}


class TestCooccurrence(AgentContract):
    agent_type = Cooccurrence


class TestTrending(AgentContract):
    agent_type = Trending
