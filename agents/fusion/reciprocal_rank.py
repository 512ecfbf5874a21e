"""Reciprocal-rank fusion of several lists (Cormack, Clarke & Buettcher 2009), with weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from agenticrs.agents.batch import Candidates
from agenticrs.agents.fusion.common import (
    FUSION_LOOP,
    FUSION_REWARD,
    WeightedFusion,
    WeightedFusionConfig,
)
from agenticrs.registry.spec import AgentSpec, DecisionSpace, IntRange, PerInput


class ReciprocalRankFusionConfig(WeightedFusionConfig):
    """How ranks become votes, and whose votes count how much."""

    k: int = Field(default=60, ge=1)
    """Added to every rank: the larger, the flatter the votes. 60 is the paper's."""


class ReciprocalRankFusion(WeightedFusion[ReciprocalRankFusionConfig]):
    """vote_s(i) = 1 / (k + rank_s(i)); scores of the inputs are not used.

    Items with equal votes stay in the order of the inputs.
    """

    config_type = ReciprocalRankFusionConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="rrf",
        kind="functional",
        role="fusion",
        summary="Fuses lists by weighted votes for their ranks.",
        paper="Cormack, Clarke & Buettcher 2009, Reciprocal rank fusion outperforms Condorcet",
        loop=FUSION_LOOP,
        inner_reward=FUSION_REWARD,
        space=DecisionSpace(
            parameters=(
                IntRange(name="k", low=1, high=200, log=True),
                PerInput(name="weights", low=0.0, high=1.0),
            )
        ),
        outer_weight=0.5,
    )

    def votes(self, source: Candidates) -> Tensor:
        """The reciprocals of the ranks, the same for every user."""
        rank = torch.arange(1, source.items.shape[1] + 1, device=source.items.device)
        return (1 / (self.config.k + rank)).expand(source.items.shape)
