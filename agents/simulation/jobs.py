"""Jobs: fit and judge a world, and let its users meet a composition.

Module-level functions on numpy and bytes, so that they run in any process; a world comes and goes
as its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.runtime import Runtime
from agenticrs.agents.simulation.judged import judge
from agenticrs.agents.simulation.objectives import objectives
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.simulate import Recommender, simulate
from agenticrs.agents.simulation.world_files import pack, unpack
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.trial import Files, runtime_of
from agenticrs.platform.data.dataset import Fold
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import AgentSpec

Measured = dict[str, npt.NDArray[np.float64]]
"""Objective -> a figure for each simulated user, (n,)."""


def fit_world_of(fold: Fold, seed: int) -> bytes:
    """The file of a world that was fitted to the fold's history and judged."""
    return pack(judge(fold, seed))


def live_with(
    fold: Fold,
    world: bytes,
    graph: Graph,
    specs: Mapping[str, AgentSpec],
    depth: int,
    users: npt.NDArray[Any],
    days: int,
    seed: int,
    *files: Files,
) -> Measured:
    """What users of the log (indices, (n,)) get from a composition in some days, by objective.

    ``files`` are those of the graph's nodes in order. The same seed is the same luck, whatever is
    shown: figures of two compositions are pairs. A node that fails raises AgentError.
    """
    data = TrainingData.of(fold.dataset)
    artifacts = {
        (node.agent, node.version): dict(of_node)
        for node, of_node in zip(graph.nodes, files, strict=True)
    }
    runtime = runtime_of(graph, specs, artifacts, data, depth=depth)
    population = Population.of(unpack(world).world, torch.from_numpy(users.astype(np.int64)))
    outcome = simulate(population, measured(runtime), days, seed)
    return {name: values.numpy() for name, values in objectives(outcome).items()}


def measured(runtime: Runtime) -> Recommender:
    """What a composition shows, without stand-ins: a node that fails is no result."""

    def recommend(users: UserBatch, k: int) -> Tensor:
        return runtime.run_all(users, k).candidates.items

    return recommend
