"""Items that a user did not have, drawn in bulk: candidates first, then collisions redrawn."""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch

_REDRAWS = 3
"""Collisions left after so many redraws stay in: a user that had nearly everything has no
negatives to give."""


class NegativeSampler:
    """Draws items outside each user's history, uniformly."""

    def __init__(self, histories: UserBatch, n_items: int, generator: torch.Generator) -> None:
        self._n_items = n_items
        self._generator = generator
        self._seen = torch.unique(histories.rows * n_items + histories.items)

    def draw(self, rows: Tensor, n: int) -> Tensor:
        """Items for each history row in ``rows`` ((B,) indices), (B, n) int64."""
        items = self._uniform((len(rows), n))
        for _ in range(_REDRAWS):
            collided = self.contains(rows[:, None], items)
            count = int(collided.sum())
            if not count:
                break
            items[collided] = self._uniform((count,))
        return items

    def contains(self, rows: Tensor, items: Tensor) -> Tensor:
        """Whether each item stands in the history of its row (shapes broadcast), bool."""
        if not len(self._seen):
            return torch.zeros_like(rows + items, dtype=torch.bool)
        keys = rows * self._n_items + items
        place = torch.searchsorted(self._seen, keys).clamp(max=len(self._seen) - 1)
        return torch.eq(self._seen[place], keys)

    def _uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(
            self._n_items, shape, generator=self._generator, device=self._seen.device
        )
