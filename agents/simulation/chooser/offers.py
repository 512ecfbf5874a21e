"""Offers to choose from: an item that a user took, among others that the user did not take.

Half of the others are drawn by popularity and half from the whole catalogue, as on the pages of a
recommender. What is drawn is a hash of who was offered what in which round (``luck``): the same
offer comes out in every trial, whatever the batches are, and nobody can choose an easier one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.simulation.luck import keys, uniform
from agenticrs.agents.training_data import Heldout, TrainingData

CHOICE = "choice"
"""The inner reward of agents that choose: the share of held-out items they pick among k."""
_POPULAR_SHARE = 0.5
_ROUNDS = 4
"""Offers made of each held-out item: one alone says little about a user."""
_SPARE = 3
"""So many times more are drawn than wanted, because some are taken or come twice."""
_CHUNK = 4096


@dataclass(frozen=True)
class Offers:
    """Makes offers. ``counts`` (n_items,): how often each item was taken.

    ``had`` are sorted numbers user * n_items + item of all that users are known to have taken.
    """

    counts: Tensor
    had: Tensor

    @staticmethod
    def of(histories: UserBatch, n_items: int, heldout: Heldout | None = None) -> Offers:
        """What users had (row u = user u), and what of it is held out."""
        had = histories.rows * n_items + histories.items
        if heldout is not None:
            owner = torch.repeat_interleave(heldout.users, heldout.offsets.diff())
            had = torch.cat([had, owner * n_items + heldout.items])
        counts = torch.bincount(histories.items, minlength=n_items)
        return Offers(counts, torch.unique(had))

    def make(self, user: Tensor, taken: Tensor, size: int, turn: int) -> Tensor:
        """Offers of ``size`` items for (n,) users and items they took, (n, size) int64.

        The item that was taken stands anywhere; -1 pads come last where a user has had nearly
        everything. Another ``turn`` gives other offers.
        """
        others = self._others(user, taken, size, turn)
        items = torch.cat([taken[:, None], others], 1)
        places = torch.arange(size, device=items.device)
        luck = uniform(keys(turn, user[:, None], taken[:, None], -1, places), 0)
        order = (luck + (items < 0)).argsort(1)
        return items.gather(1, order)

    def _others(self, user: Tensor, taken: Tensor, size: int, turn: int) -> Tensor:
        n_items = len(self.counts)
        tries = torch.arange(_SPARE * size, device=user.device)
        luck = keys(turn, user[:, None], taken[:, None], tries)
        where = uniform(luck, 1)
        even = (where * n_items).to(torch.int64).clamp(max=n_items - 1)
        grown = self.counts.cumsum(0).to(torch.float32)
        liked = torch.searchsorted(grown, where * grown[-1], right=True).clamp(max=n_items - 1)
        drawn = torch.where(uniform(luck, 2) < _POPULAR_SHARE, liked, even)
        fit = ~(self._had(user, drawn) | (drawn == taken[:, None]) | lists.repeated(drawn))
        order = (~fit).to(torch.int8).argsort(dim=1, stable=True)[:, : size - 1]
        return drawn.gather(1, order).masked_fill(~fit.gather(1, order), -1)

    def _had(self, user: Tensor, items: Tensor) -> Tensor:
        asked = user[:, None] * len(self.counts) + items
        if not len(self.had):
            return torch.zeros_like(items, dtype=torch.bool)
        place = torch.searchsorted(self.had, asked).clamp(max=len(self.had) - 1)
        return self.had[place] == asked


def choice_accuracy(agent: Agent[Any], data: TrainingData, heldout: Heldout, size: int) -> Tensor:
    """How often the agent's first item is the one that was taken, among ``size``, (U,) float64.

    A mean over the user's held-out items, each in several offers. A coin of that many sides has
    1 / ``size``. Raises AgentError when the agent puts out something unsound.
    """
    offers = Offers.of(data.histories, data.n_items, heldout)
    owner = torch.arange(len(heldout.users), device=heldout.users.device)
    row = torch.repeat_interleave(owner, heldout.offsets.diff())
    right = torch.zeros(len(owner), dtype=torch.float64, device=owner.device)
    with torch.inference_mode():
        for turn in range(_ROUNDS):
            for start in range(0, len(row), _CHUNK):
                here = row[start : start + _CHUNK]
                user, taken = heldout.users[here], heldout.items[start : start + _CHUNK]
                items = offers.make(user, taken, size, turn)
                scores = torch.zeros(items.shape, device=items.device)
                offered = Candidates(items, scores.masked_fill(items < 0, -torch.inf))
                answer = agent.act(data.histories.take(user), [offered], 1)
                first = lists.widen(lists.check(answer, len(user), data.n_items), 1).items[:, 0]
                right.index_add_(0, here, (first == taken).to(torch.float64))
    return right / (_ROUNDS * heldout.offsets.diff().clamp(min=1))
