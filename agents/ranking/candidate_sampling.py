"""Lists to learn ranking from: one positive and negatives like those that a ranker will meet.

Each negative comes from one of four sources, drawn for each place of each list: neighbours of the
history (what retrievers put out), popular items, any items, and exposures that the user did not
take. Items of the user's history are replaced.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.common import item_counts
from agenticrs.agents.retrieval.itemknn import ItemKNN, ItemKNNConfig
from agenticrs.agents.retrieval.negatives import NegativeSampler
from agenticrs.agents.training_data import TrainingData


class CandidateSampler:
    """Draws negatives for positives of the histories; popular ones by counts to the ``power``.

    ``near`` is ``neighbour_table`` of the same data, for those who have it already.
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        neighbours: float,
        popular: float,
        exposed: float,
        generator: torch.Generator,
        power: float = 1.0,
        near: Tensor | None = None,
    ) -> None:
        self._histories = data.histories
        self._n_items = data.n_items
        self._generator = generator
        self._uniform = NegativeSampler(data.histories, data.n_items, generator)
        self._cumulative = item_counts(data.histories, data.n_items).pow(power).cumsum(0)
        self._shares = (neighbours, popular, exposed)
        self._near: Tensor | None = None
        if neighbours:
            self._near = neighbour_table(data, generator.device) if near is None else near
        self._skipped = _skipped(data)

    def draw(self, rows: Tensor, anchors: Tensor, n: int) -> Tensor:
        """Negatives for each user in ``rows`` (B,), of whom ``anchors`` (B, H) are past items.

        Returns (B, n) item indices. ``anchors`` may hold -1 pads.
        """
        items = self._uniform.draw(rows, n)
        shape, near, (neighbours, popular, exposed) = items.shape, self._near, self._shares
        source = self._rand(shape)
        if near is not None:
            column = self._integers(anchors.shape[1], shape)
            anchor = anchors.gather(1, column)
            voted = near[anchor.clamp(min=0), self._integers(near.shape[1], shape)]
            chosen = (source < neighbours) & (anchor >= 0) & (voted >= 0)
            items = torch.where(chosen, voted, items)
        if popular:
            point = self._rand(shape) * self._cumulative[-1]
            liked = torch.searchsorted(self._cumulative, point).clamp(max=self._n_items - 1)
            chosen = (source >= neighbours) & (source < neighbours + popular)
            items = torch.where(chosen, liked, items)
        if exposed and len(self._skipped.items):
            length = self._skipped.lengths[rows][:, None]
            place = (self._rand(shape) * length).to(torch.int64)
            entry = (self._skipped.offsets[:-1][rows][:, None] + place).clamp(
                max=len(self._skipped.items) - 1
            )
            chosen = (source >= 1 - exposed) & (length > 0)
            items = torch.where(chosen, self._skipped.items[entry], items)
        collided = self._uniform.contains(rows[:, None], items)
        return torch.where(collided, self._uniform.draw(rows, n), items)

    def _rand(self, shape: torch.Size) -> Tensor:
        return torch.rand(shape, generator=self._generator, device=self._generator.device)

    def _integers(self, high: int, shape: torch.Size) -> Tensor:
        device = self._generator.device
        return torch.randint(high, shape, generator=self._generator, device=device)


def neighbour_table(data: TrainingData, device: torch.device) -> Tensor:
    """The neighbours of each item, (n_items, 50) with -1 pads."""
    knn = ItemKNN(ItemKNNConfig(neighbours=50), device=str(device))
    knn.fit(data, Budget())
    return torch.where(knn.similarity > 0, knn.near, -1)


def _skipped(data: TrainingData) -> UserBatch:
    """For each user the items that were shown and not taken."""
    events = data.events
    rows = (events.label < 0.5).nonzero()[:, 0]
    rows = rows[torch.argsort(events.user[rows], stable=True)]
    counts = torch.bincount(events.user[rows], minlength=data.n_users)
    offsets = torch.zeros(data.n_users + 1, dtype=torch.int64, device=counts.device)
    torch.cumsum(counts, 0, out=offsets[1:])
    return UserBatch(data.histories.users, offsets, events.item[rows])
