"""What every retriever declares or computes alike: its closed loop, counts, recency, priors."""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import ClosedLoop, InnerReward, Port

RETRIEVAL_LOOP = ClosedLoop(
    inputs=(Port.USERS,),
    output=Port.CANDIDATES,
    executor="the runtime hands the candidates to the next agent, or shows them",
    feedback="click",
)
RETRIEVAL_REWARD = InnerReward(metric="ndcg", k=10)

MAX_WEIGHTS = 500_000_000
"""Weights of one agent above which a candidate is refused: 2 GB as float32."""


def within_limit(name: str, weights: int) -> int:
    """``weights`` itself; AgentError when there are more than one agent may hold."""
    if weights > MAX_WEIGHTS:
        raise AgentError(
            f"{name} would hold {weights:,} weights, the limit is {MAX_WEIGHTS:,}",
            hint="choose smaller embeddings or fewer neighbours, or another agent",
        )
    return weights


def item_counts(histories: UserBatch, n_items: int) -> Tensor:
    """How often each item stands in the histories, (n_items,) float32."""
    return torch.bincount(histories.items, minlength=n_items).to(torch.float32)


def log_popularity(histories: UserBatch, n_items: int) -> Tensor:
    """log(1 + count) of each item over the largest, (n_items,), in [0, 1]."""
    counts = item_counts(histories, n_items).log1p()
    return counts / counts.max().clamp(min=1e-6)


def tie_breaker(counts: Tensor) -> Tensor:
    """Popularity scaled to at most 1e-6, (n_items,).

    Added to scores it orders what would otherwise be equal (an empty history, no neighbours)
    and stays below the differences that a model means.
    """
    return counts * (1e-6 / counts.max().clamp(min=1.0))


def recency_weights(users: UserBatch, half_life: float) -> Tensor:
    """Weight of each history entry, (len(users.items),): 1 for a user's newest, halving with age.

    ``half_life`` counts entries of the history, not time.
    """
    place = torch.arange(len(users.items), device=users.items.device)
    age = (users.offsets[1:] - 1)[users.rows] - place
    return torch.exp2(-age.to(torch.float32) / half_life)
