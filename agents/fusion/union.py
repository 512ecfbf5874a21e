"""Several lists for the same users as one: each item once, with what its lists say added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.agents.batch import Candidates


@dataclass(frozen=True)
class Union:
    """The entries of all lists side by side.

    ``items`` (B, N) int64 with -1 pads; ``first`` (B, N) int64: for every entry the column in which
    its item stands for the first time.
    """

    items: Tensor
    first: Tensor

    @staticmethod
    def of(lists: Sequence[Tensor]) -> Union:
        """The union of lists of items, each (B, k), in their order."""
        items = torch.cat(list(lists), 1)
        order = items.argsort(dim=1, stable=True)
        ordered = items.gather(1, order)
        new = torch.ones_like(items, dtype=torch.bool)
        new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        # The sort is stable: the column of a run's first entry is the smallest of the run.
        column = torch.arange(items.shape[1], device=items.device).expand_as(items)
        start = torch.where(new, column, 0).cummax(1).values
        return Union(items, torch.empty_like(items).scatter_(1, order, order.gather(1, start)))

    @property
    def leading(self) -> Tensor:
        """Mask (B, N) of the entries that stand for their item."""
        column = torch.arange(self.items.shape[1], device=self.items.device)
        return (self.first == column) & (self.items >= 0)

    def total(self, values: Tensor) -> Tensor:
        """Sums of ``values`` (B, N, ...) over the entries of an item, at its leading entry."""
        place = self.first.reshape(self.first.shape + (1,) * (values.dim() - 2)).expand_as(values)
        return torch.zeros_like(values).scatter_add(1, place, values)

    def best(self, scores: Tensor, k: int) -> Candidates:
        """The k items with the highest ``scores`` (B, N); equal ones in the order of the lists."""
        ranked = scores.masked_fill(~self.leading, -torch.inf)
        order = ranked.sort(dim=1, descending=True, stable=True)
        items, scores = self.items.gather(1, order.indices)[:, :k], order.values[:, :k]
        return Candidates(items.masked_fill(torch.isneginf(scores), -1), scores)
