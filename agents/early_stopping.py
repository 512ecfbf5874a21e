"""Stops a training that gets no better, and keeps the weights of its best epoch.

What is better is judged on users whose newest item was held back from training, never on the
held-out part of a split: that part is for choosing among agents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.rewards.ranking import ranking_metrics

_SHARE = 0.1
_MOST = 1000
_LOOKED_AT = 10


class PatientConfig(AgentConfig):
    """Of a retriever that may end before its last epoch (``on_newest_items``)."""

    patience: int = Field(default=0, ge=0)
    """Epochs without a better NDCG@10 after which training stops, at the best epoch's weights. It
    is judged on a tenth of the users' newest items, which are then not learnt from. 0: never."""


class EarlyStopping:
    """Looks at a score after each epoch; gives up after ``patience`` epochs without a better one.

    ``weights`` are those in training (by name), ``score`` measures them as they are.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], score: Callable[[], float], patience: int
    ) -> None:
        self._weights, self._score, self._patience = weights, score, patience
        self._best = {name: weight.detach().clone() for name, weight in weights.items()}
        self._record = torch.tensor([-torch.inf, 0.0], dtype=torch.float64)  # best score, waited

    def should_stop(self) -> bool:
        """Measure, remember the weights when they are the best so far, and say whether to stop."""
        score = self._score()
        if score > float(self._record[0]):
            self._record = torch.tensor([score, 0.0], dtype=torch.float64)
            for name, weight in self._weights.items():
                self._best[name].copy_(weight.detach())
            return False
        self._record[1] += 1
        return float(self._record[1]) >= self._patience

    def restore_best(self) -> None:
        """Put the best weights back in place."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(self._best[name])

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"record": self._record, **{f"best.{n}": t for n, t in self._best.items()}}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from ``state``."""
        self._record = state["record"]
        for name, best in self._best.items():
            best.copy_(state[f"best.{name}"])


def on_newest_items(
    agent: Retriever[Any],
    histories: UserBatch,
    weights: Mapping[str, Tensor],
    patience: int,
    generator: torch.Generator,
) -> tuple[UserBatch, EarlyStopping | None]:
    """What a retriever learns from, and who stops it by NDCG@10 of what was held back.

    After each epoch the agent must answer by ``weights``. Without patience, and where nobody has
    items to spare, these are all the histories, and None.
    """
    if not patience:
        return histories, None
    shorter, users, newest = hold_back(histories, generator)
    if not len(users):
        return histories, None
    score = partial(_ndcg_of_one, agent, shorter.take(users), newest)
    return shorter, EarlyStopping(weights, score, patience)


def _ndcg_of_one(agent: Retriever[Any], users: UserBatch, item: Tensor) -> float:
    """Mean NDCG@10 of one item (n,) for each of the users."""
    with torch.no_grad():
        ranked = agent.act(users, (), _LOOKED_AT).items
    each = torch.arange(len(item) + 1, device=item.device)
    found = ranking_metrics(ranked, each, item, [_LOOKED_AT])
    return float(found[f"ndcg@{_LOOKED_AT}"].mean())


def hold_back(histories: UserBatch, generator: torch.Generator) -> tuple[UserBatch, Tensor, Tensor]:
    """Take the newest item of a tenth of the users (at most 1,000) out of the histories.

    Only users with three items or more are chosen. Returns the shorter histories (row u = user u),
    the users (n,) and the items that were taken (n,).
    """
    long_enough = (histories.lengths >= 3).nonzero()[:, 0]
    wanted = min(_MOST, max(1, round(_SHARE * len(long_enough)))) if len(long_enough) else 0
    order = torch.randperm(len(long_enough), generator=generator, device=generator.device)
    users = long_enough[order[:wanted]].sort().values
    newest = histories.offsets[1:][users] - 1
    kept = torch.ones(len(histories.items), dtype=torch.bool, device=histories.items.device)
    kept[newest] = False
    return histories.only(kept), users, histories.items[newest]
