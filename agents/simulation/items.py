"""What simulated users can tell about items: likeness, genres, the crowd's verdict, length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.simulation.logbook import Logbook
from agenticrs.platform.data.dataset import Dataset

_SIZE = 32
_ROUNDS = 4
_PSEUDO = 10.0
"""Events of the average item that are added to each: rare items are near the average."""


@dataclass(frozen=True)
class Items:
    """Rows are items, (I, ...) float32.

    ``vectors``: unit vectors, alike for items that the same users take; zero where nobody did.
    ``tags``: shares of genres or tags, rows sum to 1 or 0. ``quality``, ``appeal``: mean
    satisfaction and share of positives, less those of all events. ``popularity``: log(1 + events),
    standardised. ``length``: log(1 + seconds), 0 where not known.
    """

    vectors: Tensor
    tags: Tensor
    quality: Tensor
    appeal: Tensor
    popularity: Tensor
    length: Tensor
    seconds: Tensor

    @staticmethod
    def of(dataset: Dataset, log: Logbook) -> Items:
        """Look at the events of ``log``; features come from the dataset."""
        n_items = dataset.n_items
        counts = torch.bincount(log.item, minlength=n_items).to(torch.float32)
        grown = counts.log1p()
        seconds = _seconds(dataset, n_items)
        return Items(
            vectors=_vectors(log, dataset.n_users, n_items),
            tags=functional.normalize(tags_of(dataset), p=1, dim=1),
            quality=_verdict(log.satisfaction, log, counts),
            appeal=_verdict(log.positive.to(torch.float32), log, counts),
            popularity=(grown - grown.mean()) / (grown.std() + 1e-6),
            length=seconds.log1p(),
            seconds=seconds,
        )

    def __len__(self) -> int:
        return len(self.vectors)


def tags_of(dataset: Dataset) -> Tensor:
    """Genres or tags as 0 and 1, (n_items, G); categories where there are none; else one zero."""
    features = dataset.item_features
    tables = [torch.from_numpy(table.copy()) for table in features.multi_hot.values()]
    if not tables:
        tables = [
            functional.one_hot(torch.from_numpy(codes.copy()).long(), features.cardinality[name])
            for name, codes in features.categorical.items()
            if features.cardinality[name] <= 100
        ]
        tables = [table[:, 1:].to(torch.float32) for table in tables]  # code 0 says nothing
    return torch.cat(tables, 1) if tables else torch.zeros(dataset.n_items, 1)


def _verdict(values: Tensor, log: Logbook, counts: Tensor) -> Tensor:
    mean = values.mean() if len(values) else 0.0
    total = torch.zeros_like(counts).index_add_(0, log.item, values - mean)
    return total / (counts + _PSEUDO)


def _seconds(dataset: Dataset, n_items: int) -> Tensor:
    """Mean duration of each item over the rows that tell it; the median of all where none does.

    How long an item is no user decides, so all rows of the dataset may be asked.
    """
    rows = dataset.interactions
    if "duration" not in rows.behaviours:
        return torch.zeros(n_items)
    duration = torch.from_numpy(rows.behaviours["duration"].copy())
    item = torch.from_numpy(rows.item.astype("int64"))
    known = duration > 0
    total = torch.zeros(n_items).index_add_(0, item[known], duration[known])
    counts = torch.bincount(item[known], minlength=n_items)
    typical = duration[known].median() if bool(known.any()) else torch.tensor(0.0)
    return torch.where(counts > 0, total / counts.clamp(min=1), typical)


def _vectors(log: Logbook, n_users: int, n_items: int) -> Tensor:
    """Item factors of who took what, as many as there may be."""
    taken = log.positive
    return item_factors(log.user[taken], log.item[taken], n_users, n_items, _SIZE)


def item_factors(user: Tensor, item: Tensor, n_users: int, n_items: int, size: int) -> Tensor:
    """Unit vectors of items, alike where the same users took them, (n_items, at most ``size``).

    ``user`` and ``item`` (n,) are who took what. By randomised subspace iteration (Halko et al.
    2011); zero for items that nobody took.
    """
    size = min(size, n_users, n_items)
    if not len(user):
        return torch.zeros(n_items, size, device=user.device)
    pairs = torch.unique(user * n_items + item)
    user, item = pairs // n_items, pairs % n_items
    counts = torch.bincount(item, minlength=n_items).to(torch.float32)
    active = torch.bincount(user, minlength=n_users).to(torch.float32)
    # Without the scaling the first factor is popularity, and everything looks alike.
    weight = (counts[item] * active[user]).rsqrt()
    matrix = torch.sparse_coo_tensor(
        torch.stack([user, item]), weight, (n_users, n_items), check_invariants=False
    ).coalesce()
    basis = torch.randn(n_items, size, generator=torch.Generator().manual_seed(0)).to(user.device)
    for _ in range(_ROUNDS):
        basis = torch.linalg.qr(torch.sparse.mm(matrix.t(), torch.sparse.mm(matrix, basis))).Q
    vectors = torch.sparse.mm(matrix.t(), torch.sparse.mm(matrix, basis))
    return functional.normalize(torch.where((counts > 0)[:, None], vectors, 0.0), dim=1)
