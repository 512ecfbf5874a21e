"""What agents that decide over others' lists learn from: those lists, and what users then took.

Only the held-out users that steer the search teach (``splits.search_users``); the others decide who
wins and are never learnt from. Teaching users are measured too, but by agents that did not learn
from them: the lesson is cut in two halves, and each half judges what the other taught
(cross-fitting, as in stacking: Wolpert 1992, Stacked generalization).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.splits import search_users


@dataclass(frozen=True)
class Lesson:
    """Users with their histories, the lists they were given, and the truth, rows alike.

    For a router the lists are those of its segments, in order.
    """

    users: UserBatch
    inputs: tuple[Candidates, ...]
    truth: Heldout

    @staticmethod
    def of(data: TrainingData, truth: Heldout, inputs: Sequence[Candidates]) -> Lesson:
        """All held-out users; ``inputs`` have rows as ``truth.users``."""
        return Lesson(data.histories.take(truth.users), tuple(inputs), truth)

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Tensor) -> Lesson:
        """The users at ``rows`` ((n,) indices)."""
        return Lesson(
            self.users.take(rows),
            tuple(Candidates(source.items[rows], source.scores[rows]) for source in self.inputs),
            self.truth.take(rows),
        )

    def gains(self, items: Tensor, n_items: int) -> Tensor:
        """What each of ``items`` (B, N), -1 pads, was worth to its user, (B, N); 0 if not taken."""
        owner = torch.repeat_interleave(
            torch.arange(len(self), device=items.device), self.truth.offsets.diff()
        )
        key, order = (owner * n_items + self.truth.items).sort()
        if not len(key):
            return torch.zeros(items.shape, device=items.device)
        row = torch.arange(len(self), device=items.device)[:, None]
        asked = row * n_items + items.clamp(min=0)
        place = torch.searchsorted(key, asked).clamp(max=len(key) - 1)
        taken = (key[place] == asked) & (items >= 0)
        return torch.where(taken, self.truth.value[order][place], 0.0)


def teaching_rows(users: Tensor) -> Tensor:
    """Rows of the held-out ``users`` (U,) that may be learnt from; all, when none of them may."""
    mask = torch.from_numpy(search_users(users.cpu().numpy()))
    rows = mask.nonzero()[:, 0].to(users.device)
    return rows if len(rows) else torch.arange(len(users), device=users.device)


def halves(rows: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """(learn from, judge) for both halves of the teaching rows; nothing when there is only one."""
    first, second = rows[::2], rows[1::2]
    return ((first, second), (second, first)) if len(second) else ()
