"""A ranker made of towers that a router of experts blends, and its parts as agents of their own.

A part trains the whole model and answers by its own piece of it, so that its inner reward judges
that piece; what it finds (the settings of its piece) is offered to the whole model's next search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.network import Batch, Network
from agenticrs.agents.grammar.ranker import RANKING_LOOP, DocumentRanker, RankerConfig
from agenticrs.agents.retrieval.common import RETRIEVAL_REWARD
from agenticrs.registry.spec import (
    AgentSpec,
    ConcreteParameter,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
)

_LONG: tuple[ConcreteParameter, ...] = (
    IntRange(name="history", low=10, high=200, log=True),
    IntRange(name="long_hidden", low=8, high=128, log=True),
    FloatRange(name="long_weight", low=0.0, high=1.0),
)
_COLD: tuple[ConcreteParameter, ...] = (
    IntRange(name="cold_hidden", low=8, high=128, log=True),
    FloatRange(name="cold_weight", low=0.0, high=1.0),
)
_ROUTER: tuple[ConcreteParameter, ...] = (
    IntRange(name="experts", low=2, high=8),
    FloatRange(name="balance", low=0.0, high=0.3),
)
_TASKS = ("main", "long", "cold")
_TOWER_REWARD = RETRIEVAL_REWARD.model_copy(update={"also": ("auc@100",)})
"""NDCG decides; AUC says how a tower orders all that it is given, the end of the list included."""


class TowersConfig(RankerConfig):
    """Sizes of the towers, and how much each is trained to stand alone."""

    embedding_size: int = Field(default=32, ge=1)
    """Length of user, item and feature vectors."""
    hidden: int = Field(default=64, ge=2)
    """Width of the general tower and of the experts."""
    long_hidden: int = Field(default=32, ge=1)
    """Width of the long-sequence tower."""
    long_weight: float = Field(default=0.3, ge=0)
    """Weight of the long-sequence tower's own loss."""
    cold_hidden: int = Field(default=32, ge=1)
    """Width of the cold-start tower."""
    cold_weight: float = Field(default=0.3, ge=0)
    """Weight of the cold-start tower's own loss."""
    experts: int = Field(default=4, ge=1, le=32)
    """Experts over the towers' outputs."""
    balance: float = Field(default=0.05, ge=0)
    """Weight of the loss that spreads the work over the experts."""


class Towers(DocumentRanker[TowersConfig]):
    """A general tower, one over the long history, one over content alone, blended by experts.

    Loss: listwise softmax of the whole, of both special towers by their weights, and
    balance * (E sum_e m_e^2 - 1) with m_e the mean share of expert e of E: 0 when all work alike
    (the load-balancing loss of Fedus et al. 2021, Switch Transformers, with soft shares).
    """

    config_type = TowersConfig
    free_settings = DocumentRanker.free_settings | {"long_weight", "cold_weight", "balance"}
    answers_by: ClassVar[str] = "main"
    """The task whose logits order the candidates."""
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="towers",
        kind="model",
        role="ranking",
        summary="Ranks by towers for the long history and for new items, blended by experts.",
        paper="Pi et al. 2020, Search-based interest model (the long tower); Fedus et al. 2021",
        loop=RANKING_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="upstream_weight", low=0.0, high=10.0),
                IntRange(name="embedding_size", low=8, high=64, log=True),
                FloatRange(name="learning_rate", low=2e-4, high=2e-2, log=True),
                IntRange(name="epochs", low=1, high=20, log=True),
                *_LONG,
                *_COLD,
                *_ROUTER,
            )
        ),
    )

    @classmethod
    def document(cls, config: TowersConfig) -> Architecture:
        """Three towers, and experts over their outputs."""
        return documents.towers(
            width=config.embedding_size,
            hidden=config.hidden,
            long=config.long_hidden,
            cold=config.cold_hidden,
            experts=config.experts,
        )

    def terms(self, network: Network, batch: Batch, noise: torch.Generator | None) -> Tensor:
        """The losses of the whole and both special towers, and the experts' imbalance, (4,)."""
        logits, values = self.values_to_learn(network, batch, noise)
        target = torch.zeros(len(batch.user), dtype=torch.int64, device=batch.user.device)
        share = values[documents.ROUTER_SHARE].to(torch.float32).flatten(0, -2).mean(0)
        spread = len(share) * share.square().sum() - 1
        losses = [functional.cross_entropy(logits[task], target) for task in _TASKS]
        return torch.stack([*losses, spread])

    def weights(self) -> tuple[float, ...]:
        """What each of the terms counts."""
        return (1.0, self.config.long_weight, self.config.cold_weight, self.config.balance)

    def combined(self, logits: Mapping[str, Tensor]) -> Tensor:
        """The logits of the piece that answers."""
        return logits[self.answers_by]

    def shares(self, users: UserBatch, inputs: Sequence[Candidates]) -> Tensor:
        """How much of each user's candidates goes to each expert, (B, E), rows sum to 1."""
        source = inputs[0]
        known = users.within(self.n_users, self.n_items)
        items = torch.where(source.items < self.n_items, source.items, -1)
        parts = [
            (values[documents.ROUTER_SHARE] * (part >= 0)[..., None]).sum(1)
            / (part >= 0).sum(1, keepdim=True).clamp(min=1)
            for part, values in self.values(known, items)
        ]
        return torch.cat(parts)


def _part(
    name: str, summary: str, reward: InnerReward, space: tuple[ConcreteParameter, ...]
) -> AgentSpec:
    return Towers.spec.model_copy(
        update={
            "name": name,
            "summary": summary,
            "inner_reward": reward,
            "space": DecisionSpace(parameters=space),
            "part_of": "towers",
        }
    )


class LongTower(Towers):
    """The tower over the long history, judged by the order that it gives alone."""

    answers_by = "long"
    spec: ClassVar[AgentSpec] = _part(
        "long_tower", "The long-sequence tower of `towers`.", _TOWER_REWARD, _LONG
    )


class ColdTower(Towers):
    """The tower that sees content and counts but no identity, judged by its order alone."""

    answers_by = "cold"
    spec: ClassVar[AgentSpec] = _part(
        "cold_tower", "The cold-start tower of `towers`.", _TOWER_REWARD, _COLD
    )


class ExpertRouter(Towers):
    """The router of the experts, judged by accuracy, load balance, utilisation and stability."""

    spec: ClassVar[AgentSpec] = _part(
        "expert_router",
        "The router of `towers`: which expert does how much for whom.",
        InnerReward(metric="relevance_routing", k=10),
        _ROUTER,
    )
