"""Training windows over histories: where each starts and ends, and batches of like length.

Everything is index arithmetic over the one flat array of items; no window is ever copied until
its batch is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch

_BATCHES_SORTED_TOGETHER = 8
"""Windows of so many batches are sorted by length: less padding, and still well shuffled."""


@dataclass(frozen=True)
class Sequences:
    """Left-aligned sequences with what comes next: ``items``, ``target`` (B, T), -1 pads.

    ``rows`` (B,) are the users' rows in the histories; ``times`` (B, T) are those of ``items``,
    and mean nothing at pads.
    """

    rows: Tensor
    items: Tensor
    target: Tensor
    times: Tensor | None


@dataclass(frozen=True)
class Windows:
    """Windows [start, stop) into ``items`` of the histories; all shapes (W,)."""

    rows: Tensor
    start: Tensor
    stop: Tensor

    def batches(
        self, histories: UserBatch, size: int, generator: torch.Generator
    ) -> Iterator[Sequences]:
        """All windows in random order, ``size`` at a time, windows of like length together."""
        count, device = len(self.rows), self.rows.device
        if not count:
            return
        length = self.stop - self.start
        order = torch.randperm(count, generator=generator, device=device)
        group = torch.arange(count, device=device) // (size * _BATCHES_SORTED_TOGETHER)
        order = order[torch.argsort(group * (length.amax() + 1) + length[order], stable=True)]
        n_batches = -(-count // size)
        for batch in torch.randperm(n_batches, generator=generator, device=device).tolist():
            chosen = order[batch * size : (batch + 1) * size]
            yield self._sequences(histories, chosen)

    def _sequences(self, histories: UserBatch, chosen: Tensor) -> Sequences:
        start, stop = self.start[chosen, None], self.stop[chosen, None]
        width = int((stop - start).max())
        place = start + torch.arange(width, device=start.device)
        inside = place < stop
        place = place.clamp(max=len(histories.items) - 2)
        return Sequences(
            rows=self.rows[chosen],
            items=torch.where(inside, histories.items[place], -1),
            target=torch.where(inside, histories.items[place + 1], -1),
            times=None if histories.times is None else histories.times[place],
        )


def cut(histories: UserBatch, length: int, generator: torch.Generator) -> Windows:
    """Cut histories into windows of at most ``length`` so that every transition is in one.

    Histories that are longer are cut at random places, anew with every call.
    """
    device = histories.items.device
    steps = (histories.lengths - 1).clamp(min=0)
    shift = torch.randint(length, (len(histories),), generator=generator, device=device)
    shift = torch.where(steps > length, shift, 0)
    count = (steps + shift + length - 1) // length
    rows = torch.repeat_interleave(torch.arange(len(histories), device=device), count)
    number = torch.arange(len(rows), device=device) - (count.cumsum(0) - count)[rows]
    start = (number * length - shift[rows]).clamp(min=0)
    stop = torch.minimum((number + 1) * length - shift[rows], steps[rows])
    begin = histories.offsets[:-1][rows]
    return Windows(rows, begin + start, begin + stop)
