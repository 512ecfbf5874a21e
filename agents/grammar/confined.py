"""A retriever with a generated block, seen from outside: a child trains it, another one answers.

What goes in are the histories and features that training is given, later the weights and histories
of users; what comes out are weights and users' vectors, which are looked at here and scored by our
own code. ``hosted`` is what runs in the child beside the block. Nothing runs where it cannot be
confined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.grammar.document import Architecture, Generated, most_weights
from agenticrs.agents.grammar.generated import sandbox_here
from agenticrs.agents.grammar.network import Network
from agenticrs.agents.grammar.shapes import infer
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.training_data import FeatureTensors, TrainingData
from agenticrs.platform.errors import AgentError
from agenticrs.platform.sandbox.limits import Limits
from agenticrs.platform.sandbox.session import Call, Session

HOST = "agenticrs.agents.grammar.hosted"
BLOCK = "block"
"""Name of the generated block's module in the child."""
_PROJECT = ("agents", "platform", "registry", "rewards")
_MIB = 1 << 20
_LONGEST_TRAINING = 3600.0
_SETTING_UP = 30.0
"""Seconds beside those of the training: before the first epoch, after the last."""
_ROOM = 1.25
"""So many times its seconds a training may take."""
ANSWERING = Limits(seconds=30.0, cpu_seconds=3600, memory=2048 * _MIB, result=256 * _MIB)
"""Of a child that answers; processor time is that of its whole life, then another takes over."""
_LARGEST = 1e6
"""No number of a user's vector may be larger: products with items must stay finite."""


def training_limits(seconds: float) -> Limits:
    """Of a child that trains for so many seconds: it stops with the epoch in which they end."""
    longest = _SETTING_UP + _ROOM * seconds
    return Limits(
        seconds=longest,
        cpu_seconds=math.ceil(longest),
        memory=4096 * _MIB,
        result=1024 * _MIB,
    )


def train(
    config: Mapping[str, Any], document: Architecture, seed: int, data: TrainingData, budget: Budget
) -> dict[str, Tensor]:
    """The weights of the retriever with that config (those fields that all documents share).

    Checkpoints are not kept: an interrupted training begins anew. Raises SandboxError, and
    AgentError when the weights are not those of the document.
    """
    seconds = min(budget.seconds, _LONGEST_TRAINING)
    given = {
        **{"config": config, "seed": seed, "effort": budget.effort, "seconds": seconds},
        **{"n_users": data.n_users, "n_items": data.n_items},
        **{f"{of}.cardinality": f.cardinality for of, f in _features(data).items()},
    }
    tensors = _of_users(data.histories)
    for of, features in _features(data).items():
        for name in ("codes", "tags", "numeric"):
            tensors[f"{of}.{name}"] = _array(getattr(features, name))
        if features.words is not None:
            tensors[f"{of}.words"] = _array(features.words)
    budget.report(0.0, "training in the sandbox")
    session = _open(document, training_limits(seconds), Call("begin", {}))
    try:
        state, told = session.call(Call("train", tensors, given))
    finally:
        session.close()
    weights = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    _refuse_other_weights(weights, document, data)
    share = told.get("share") if isinstance(told, dict) else None
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise AgentError("the sandbox did not say how much of the training was done")
    budget.report(float(share), "trained in the sandbox")
    return weights


class Confined:
    """A trained retriever in a child, which is started when somebody asks, and again if it ends."""

    def __init__(
        self,
        config: Mapping[str, Any],
        document: Architecture,
        state: Mapping[str, Tensor],
        n_items: int,
    ) -> None:
        self.state = dict(state)
        self._width = infer(document)[document.head.inputs()[0]].width
        weights = {name: _array(tensor) for name, tensor in state.items()}
        given = {"config": config, "n_items": n_items}
        self._session = _open(document, ANSWERING, Call("load", weights, given))

    def queries(self, users: UserBatch) -> Tensor:
        """One vector for each user, (B, width) float32 on the CPU.

        Raises SandboxError, and AgentError for what is no such thing.
        """
        tensors, _ = self._session.call(Call("queries", _of_users(users)))
        found = tensors.get("query")
        shape = (len(users), self._width)
        if found is None or found.shape != shape or found.dtype != np.float32:
            got = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise AgentError(f"users' vectors must be float32 {shape}, the sandbox gave {got}")
        if found.size and float(np.abs(found).max()) > _LARGEST:
            raise AgentError(f"a number of a user's vector is larger than {_LARGEST:g}")
        return torch.from_numpy(found.copy())


def _open(document: Architecture, limits: Limits, first: Call) -> Session:
    block = _block(document)
    return sandbox_here(limits, _PROJECT).open(HOST, {BLOCK: block.source}, first)


def _block(document: Architecture) -> Generated:
    if document.generated is None:
        raise AgentError("the document has no generated block")
    return document.generated


def _refuse_other_weights(
    weights: Mapping[str, Tensor], document: Architecture, data: TrainingData
) -> None:
    """Weights of our own blocks have the document's shapes; those of the block are not too many."""
    block = _block(document)
    own = f"weight.blocks.@{block.name}."
    with torch.device("meta"):
        network = Network(document, Sizes.of(data))
    wanted = {name: tuple(shape) for name, shape in network.serving_shapes().items()}
    wanted = {name: shape for name, shape in wanted.items() if not name.startswith(own)}
    got = {n: tuple(w.shape) for n, w in weights.items() if not n.startswith(own)}
    if got != wanted or any(weights[name].dtype != torch.float32 for name in wanted):
        raise AgentError("the sandbox brought weights of other shapes than the document's")
    held = sum(w.numel() for name, w in weights.items() if name.startswith(own))
    most = most_weights(network.shapes[block.name].width)
    if held > most:
        raise AgentError(f"the generated block holds {held} weights, at most {most} may be")


def _features(data: TrainingData) -> dict[str, FeatureTensors]:
    return {"users": data.user_features, "items": data.item_features}


def _of_users(users: UserBatch) -> dict[str, NDArray[Any]]:
    found = {
        **{"of.users": users.users, "of.offsets": users.offsets, "of.items": users.items},
        **({} if users.times is None else {"of.times": users.times}),
    }
    return {name: _array(tensor) for name, tensor in found.items()}


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
