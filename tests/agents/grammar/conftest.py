"""Small sizes, features and a batch that every document can be run on."""

from __future__ import annotations

import warnings

import pytest
import torch

from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.network import Batch, Network
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.training_data import EntityShape, FeatureTensors

SIZES = Sizes(50, 80, EntityShape((3, 4), 2), EntityShape((5,), 3))


@pytest.fixture
def batch() -> Batch:
    """Three users: with a history of three, of one, and an unknown one with none."""
    generator = torch.Generator().manual_seed(0)
    return Batch(
        user=torch.tensor([0, 3, -1]),
        items=torch.tensor([[1, 2, 3], [4, -1, -1], [-1, -1, -1]]),
        lengths=torch.tensor([3, 1, 0]),
        candidates=torch.randint(80, (3, 7), generator=generator),
        context=torch.randn(3, 7, 2, generator=generator),
        times=torch.tensor([[100, 160, 90_000], [7, 0, 0], [0, 0, 0]]),
    )


def built(architecture: Architecture, seed: int = 0) -> Network:
    """The network with weights and features, ready to answer."""
    network = Network(architecture, SIZES)
    network.initialise(torch.Generator().manual_seed(seed))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        graph = torch.eye(SIZES.n_users + SIZES.n_items).to_sparse_csr()
    network.give(features(SIZES.n_users, SIZES.users), features(SIZES.n_items, SIZES.items), graph)
    return network.requires_grad_(False)


def answer(network: Network, batch: Batch) -> torch.Tensor:
    """Scores of all items, or the logits of all tasks."""
    tables = network.tables()
    if network.architecture.head.head == "dot":
        return network.scores(tables, batch)
    return torch.stack(list(network.logits(tables, batch).values()))


def features(n: int, shape: EntityShape) -> FeatureTensors:
    """Random features of that shape; the same for the same ``n``."""
    generator = torch.Generator().manual_seed(n)
    codes = [torch.randint(high, (n,), generator=generator) for high in shape.cardinality]
    return FeatureTensors(
        torch.stack(codes, 1),
        shape.cardinality,
        torch.rand(n, shape.n_dense, generator=generator),
        torch.zeros(n, 0),
    )
