"""Weighted sums of scores that were made comparable: CombSUM and CombMNZ (Fox & Shaw 1994)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from agenticrs.agents.batch import Candidates
from agenticrs.agents.fusion.common import (
    FUSION_LOOP,
    FUSION_REWARD,
    WeightedFusion,
    WeightedFusionConfig,
)
from agenticrs.agents.fusion.union import Union
from agenticrs.registry.spec import AgentSpec, Choice, DecisionSpace, PerInput

Scale = Literal["minmax", "zscore"]


class ScoreFusionConfig(WeightedFusionConfig):
    """How scores become votes."""

    scale: Scale = "minmax"
    """minmax: from 0 for a list's last item to 1 for its first. zscore: standardised within the
    list and passed through a sigmoid, so that an outlier does not decide alone."""
    agreement: bool = False
    """Multiply the sum by the number of lists that hold the item (CombMNZ)."""


class ScoreFusion(WeightedFusion[ScoreFusionConfig]):
    """vote_s(i) = the score of i in list s, on a common scale."""

    config_type = ScoreFusionConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="score_fusion",
        kind="functional",
        role="fusion",
        summary="Fuses lists by weighted sums of their scores on a common scale.",
        paper="Fox & Shaw 1994, Combination of multiple searches (TREC-2)",
        loop=FUSION_LOOP,
        inner_reward=FUSION_REWARD,
        space=DecisionSpace(
            parameters=(
                Choice(name="scale", values=("minmax", "zscore")),
                Choice(name="agreement", values=(False, True)),
                PerInput(name="weights", low=0.0, high=1.0),
            )
        ),
        outer_weight=0.5,
        on_request=True,
    )

    def votes(self, source: Candidates) -> Tensor:
        """The list's scores in [0, 1], (B, k)."""
        shown = source.items >= 0
        if self.config.scale == "zscore":
            return torch.sigmoid(standardised(source))
        low = source.scores.masked_fill(~shown, torch.inf).amin(1, keepdim=True)
        high = source.scores.masked_fill(~shown, -torch.inf).amax(1, keepdim=True)
        spread = (high - low).clamp(min=1e-12)
        even = (high == low).to(source.scores.dtype)  # equal scores are votes all the same
        return torch.where(shown, (source.scores - low) / spread, 0.0) + even

    def fused(self, union: Union, votes: Tensor) -> Tensor:
        """The sums, times the number of lists where agreement counts."""
        total = super().fused(union, votes)
        if not self.config.agreement:
            return total
        return total * union.total((union.items >= 0).to(votes.dtype))


def standardised(source: Candidates) -> Tensor:
    """Scores of each list with mean 0 and deviation 1 over what it holds, 0 at pads; (B, k)."""
    shown = source.items >= 0
    scores = source.scores.masked_fill(~shown, 0.0)
    count = shown.sum(1, keepdim=True).clamp(min=1)
    centred = (scores - scores.sum(1, keepdim=True) / count).masked_fill(~shown, 0.0)
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return centred / (deviation + 1e-6)
