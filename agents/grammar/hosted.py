"""What runs in the sandbox beside a generated block: our training loop, and our answers.

A child imports this module and calls its functions with tensors and JSON; a process of the platform
never does. Whatever it says is looked at outside: the block shares its memory.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.retriever import DocumentConfig, DocumentRetriever
from agenticrs.agents.training_data import Events, FeatureTensors, TrainingData
from agenticrs.platform.errors import AgentError
from agenticrs.platform.sandbox.permission import permit

Tensors = Mapping[str, Tensor]
Told = tuple[dict[str, Tensor], Any]

_BLOCK = "block"


class Hosted(DocumentRetriever[DocumentConfig]):
    """A retriever of the document that its config brings along, generated block and all."""

    config_type = DocumentConfig

    @classmethod
    def document(cls, config: DocumentConfig) -> Architecture:
        """There is none of its own."""
        raise AgentError("the config has no document")


_answering: list[Hosted] = []


def begin(tensors: Tensors, given: Any) -> Told:
    """Nothing: that the child is there is all."""
    return {}, None


def train(tensors: Tensors, given: dict[str, Any]) -> Told:
    """Weights of the retriever, and ``share``: how much of the training was done."""
    _without_compiler()
    agent = _made(given)
    share = 1.0

    def learning(fraction: float, text: str) -> None:
        nonlocal share
        share = fraction

    n_users, n_items = given["n_users"], given["n_items"]
    none = torch.zeros(0, dtype=torch.int64)
    data = TrainingData(
        n_users=n_users,
        n_items=n_items,
        histories=_users(tensors),
        events=Events(none, none, none.to(torch.float32), none),
        user_features=_features("users", tensors, given),
        item_features=_features("items", tensors, given),
    )
    torch.manual_seed(given["seed"])
    agent.fit(data, Budget(given["effort"], given["seconds"], learning))
    return agent.network.serving_state(agent.tables), {"share": share}


def load(tensors: Tensors, given: dict[str, Any]) -> Told:
    """Take over trained weights, to answer with them from now on."""
    agent = _made(given)
    agent.load(
        {**tensors, "prior": torch.zeros(given["n_items"])}, n_users=0, n_items=given["n_items"]
    )
    _answering[:] = [agent]
    return {}, None


def queries(tensors: Tensors, given: Any) -> Told:
    """``query``: a vector for each user (B, width)."""
    with torch.inference_mode():
        return {"query": _answering[0].vectors(_users(tensors))}, None


def _without_compiler() -> None:
    """Spare the child torch's compiler, which optimisers load, for seconds, to switch it off."""
    switched_off: Any = ModuleType("torch._dynamo")
    switched_off.disable = lambda function, *rest, **named: function
    switched_off.graph_break = lambda: None
    sys.modules["torch._dynamo"] = torch._dynamo = switched_off


def _made(given: Mapping[str, Any]) -> Hosted:
    permit(True)  # outside it was asked before this child was started
    agent = Hosted(DocumentConfig.model_validate(given["config"]), seed=given.get("seed", 0))
    agent.written = importlib.import_module(_BLOCK).Block
    return agent


def _users(tensors: Tensors) -> UserBatch:
    return UserBatch(
        tensors["of.users"], tensors["of.offsets"], tensors["of.items"], tensors.get("of.times")
    )


def _features(of: str, tensors: Tensors, given: Mapping[str, Any]) -> FeatureTensors:
    cardinality = tuple(given[f"{of}.cardinality"])
    codes, tags, numeric = (tensors[f"{of}.{name}"] for name in ("codes", "tags", "numeric"))
    return FeatureTensors(codes, cardinality, tags, numeric, tensors.get(f"{of}.words"))
