"""Makes lists full: what may not be shown goes, and what was cut off or is popular comes last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.batch import Candidates, UserBatch

_ROWS = 256


class Filling:
    """Fills lists of a catalogue whose items have these popularities, (n_items,)."""

    def __init__(self, popularity: Tensor) -> None:
        self._n_items = len(popularity)
        self._popular = popularity.argsort(descending=True, stable=True)

    def full(
        self, candidates: Candidates, users: UserBatch, k: int, uncut: Sequence[Candidates]
    ) -> Candidates:
        """Exactly k columns. ``uncut`` are answers of which a part was handed on, oldest first."""
        candidates = lists.widen(candidates, max(k, candidates.items.shape[1]))
        keep = lists.allowed(candidates.items, users, self._n_items)
        if not bool(keep.all()):
            candidates = lists.compact(candidates, keep)
        candidates = lists.widen(candidates, k)
        short = (candidates.items < 0).any(1).nonzero()[:, 0]
        if not len(short):
            return candidates
        items, scores = candidates.items.clone(), candidates.scores.clone()
        for start in range(0, len(short), _ROWS):
            rows = short[start : start + _ROWS]
            # What the last stages have cut off was liked best.
            spare = [answer.items[rows] for answer in reversed(uncut)]
            found = Candidates(items[rows], scores[rows])
            full = self._with_more(found, spare, users.take(rows), k)
            items[rows], scores[rows] = full.items, full.scores
        return Candidates(items, scores)

    def _with_more(
        self, candidates: Candidates, spare: Sequence[Tensor], users: UserBatch, k: int
    ) -> Candidates:
        # Of this many popular items at least k are neither seen nor in the lists already.
        enough = int(users.lengths.max()) + 2 * k
        popular = self._popular[:enough].repeat(len(users), 1)
        more = torch.cat([*spare, popular], 1)
        found = torch.where(candidates.items >= 0, candidates.scores, torch.inf)
        lowest = found.amin(1, keepdim=True).nan_to_num(posinf=0.0)
        step = torch.arange(1, more.shape[1] + 1, device=more.device)
        joined = Candidates(
            torch.cat([candidates.items, more], 1),
            # Below everything that an agent meant, falling, so that lists stay in order.
            torch.cat([candidates.scores, lowest - step], 1),
        )
        keep = lists.allowed(joined.items, users, self._n_items)
        return lists.widen(lists.compact(joined, keep), k)
