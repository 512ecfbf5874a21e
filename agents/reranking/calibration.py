"""Calibrated lists: their genres in the proportions of the user's history (Steck 2018, RecSys)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.item_vectors import genre_shares, mean_shares
from agenticrs.agents.reranking.greedy import (
    RERANKING_LOOP,
    GreedyConfig,
    GreedyReranker,
    Pool,
    descending,
    rows_of,
)
from agenticrs.agents.training_data import TrainingData
from agenticrs.registry.spec import (
    AgentSpec,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
    Port,
)

_SMOOTHING = 0.01
"""Share of the history's proportions mixed into the list's, so that no genre is missing (alpha)."""


class CalibrationConfig(GreedyConfig):
    """How much relevance is given up for calibration."""

    trade_off: float = Field(default=0.5, ge=0, le=1)
    """Lambda: 0 keeps the order by relevance, 1 asks only for the right proportions."""


class Calibration(GreedyReranker[CalibrationConfig]):
    """Picks by (1 - t) sum of relevance - t KL(p, q): p the history's genres, q the list's.

    Genres are an item's tags, else its categories. Users without a history, and data without
    either, keep the order by relevance.
    """

    config_type = CalibrationConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="calibration",
        kind="functional",
        role="reranking",
        summary="Re-ranks so that the list has the genres of the history in their proportions.",
        paper="Steck 2018, Calibrated recommendations",
        loop=RERANKING_LOOP.model_copy(update={"inputs": (Port.USERS, Port.CANDIDATES)}),
        inner_reward=InnerReward(metric="relevance_calibration", k=10),
        on_request=True,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="trade_off", low=0.0, high=0.99),
                IntRange(name="depth", low=10, high=100, log=True),
            )
        ),
        outer_weight=0.5,
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Look up each item's genres."""
        super().fit(data, budget)
        self.shares = genre_shares(data)
        budget.report(1.0, "genres ready")

    def floats_each(self) -> int:
        """The item's genres, and those of the list with it."""
        return 2 * self.shares.shape[1]

    def _pick(self, pool: Pool, users: UserBatch, count: int) -> Candidates:
        wanted = mean_shares(users.within(self.n_users, len(self.shares)), self.shares)
        t = torch.where(wanted.sum(1) > 0, self.config.trade_off, 0.0)[:, None]
        own = rows_of(self.shares, pool.candidates.items)
        row = torch.arange(len(own), device=own.device)
        listed = torch.zeros_like(wanted)
        items = []
        for step in range(count):
            with_each = (listed[:, None] + own) / (step + 1)
            distance = _divergence(wanted[:, None], with_each)
            place, item, _ = pool.take((1 - t) * pool.relevance - t * distance)
            items.append(item)
            listed = listed + own[row, place]
        return descending(items)

    def state(self) -> dict[str, Tensor]:
        """The items' genres."""
        return {"shares": self.shares.cpu()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the genres."""
        super().load(state, n_users=n_users, n_items=n_items)
        self.shares = state["shares"].to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """A share for each item and genre; how many there are is not known here."""
        return 32 * n_items


def _divergence(wanted: Tensor, listed: Tensor) -> Tensor:
    """KL(wanted, listed) over the last axis, the list smoothed as in the paper's equation 6."""
    smooth = (1 - _SMOOTHING) * listed + _SMOOTHING * wanted
    ratio = wanted.clamp(min=1e-12) / smooth.clamp(min=1e-12)
    return (wanted * ratio.log()).sum(-1)
