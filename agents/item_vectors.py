"""A vector for each item that says what it is about, for diversity: tags where there are any."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.training_data import FeatureTensors, TrainingData

_SIZE = 32
_ROUNDS = 4


def item_vectors(data: TrainingData) -> Tensor:
    """Unit vectors (n_items, d): tags, else categories, else what co-occurs in histories.

    An item of which nothing is known has the zero vector.
    """
    described = described_vectors(data.item_features)
    return described if described is not None else _from_histories(data)


def described_vectors(features: FeatureTensors) -> Tensor | None:
    """Unit vectors from tags, or else from one-hot categories; None when there are neither."""
    if features.tags.shape[1]:
        return functional.normalize(features.tags, dim=1)
    if features.codes.shape[1]:
        columns = [
            # Code 0 is "unknown" and says nothing.
            functional.one_hot(features.codes[:, place], size)[:, 1:].to(torch.float32)
            for place, size in enumerate(features.cardinality)
        ]
        return functional.normalize(torch.cat(columns, 1), dim=1)
    return None


def genre_shares(data: TrainingData) -> Tensor:
    """Share of each genre in each item, (n_items, genres), rows sum to 1 (or 0 without any)."""
    described = described_vectors(data.item_features)
    if described is None:
        return torch.zeros(data.n_items, 1, device=data.histories.items.device)
    shares: Tensor = functional.normalize((described > 0).to(torch.float32), p=1, dim=1)
    return shares


def mean_shares(users: UserBatch, shares: Tensor) -> Tensor:
    """Each user's mean over the items of the history, (B, genres); zeros for none."""
    total = torch.zeros(len(users), shares.shape[1], device=shares.device)
    total.index_add_(0, users.rows, shares[users.items])
    return total / users.lengths.clamp(min=1)[:, None]


def _from_histories(data: TrainingData) -> Tensor:
    """Item factors of the user-item matrix by randomised subspace iteration (Halko et al. 2011)."""
    users = data.histories
    device = users.items.device
    size = min(_SIZE, data.n_users, data.n_items)
    if not len(users.items) or not size:
        return torch.zeros(data.n_items, 1, device=device)
    # Without scaling by popularity the first factor is popularity, and everything looks alike.
    counts = torch.bincount(users.items, minlength=data.n_items).to(torch.float32)
    cells = torch.stack([users.rows, users.items])
    matrix = torch.sparse_coo_tensor(
        cells,
        counts[users.items].rsqrt(),
        (data.n_users, data.n_items),
        check_invariants=False,
    ).coalesce()
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(data.n_items, size, generator=generator).to(device)
    for _ in range(_ROUNDS):
        basis = torch.linalg.qr(torch.sparse.mm(matrix.t(), torch.sparse.mm(matrix, basis))).Q
    vectors = torch.sparse.mm(matrix.t(), torch.sparse.mm(matrix, basis))
    vectors = torch.where((counts > 0)[:, None], vectors, 0.0)
    return functional.normalize(vectors, dim=1)
