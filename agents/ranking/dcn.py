"""DCN-V2: a ranker that crosses user, history and item features (Wang et al. 2021)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.ranker import RANKING_LOOP, DocumentRanker, RankerConfig
from agenticrs.agents.retrieval.common import RETRIEVAL_REWARD
from agenticrs.registry.spec import AgentSpec, DecisionSpace, FloatRange, IntRange


class DcnConfig(RankerConfig):
    """Size and training of the network."""

    embedding_size: int = Field(default=32, ge=1)
    """Length of user and item vectors."""
    crosses: int = Field(default=2, ge=1, le=8)
    """Cross layers; n of them express products of up to n + 1 features."""
    deep: int = Field(default=64, ge=1)
    """Width of the two layers of the deep part."""


class DcnV2(DocumentRanker[DcnConfig]):
    """Crosses of bounded degree beside a deep part, over vectors, similarities and counts."""

    config_type = DcnConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="dcn",
        kind="model",
        role="ranking",
        summary="Ranks candidates by crosses of user, history and item features.",
        paper="Wang et al. 2021, DCN V2",
        loop=RANKING_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        space=DecisionSpace(
            grammar="ranking",
            parameters=(
                FloatRange(name="upstream_weight", low=0.0, high=10.0),
                FloatRange(name="neighbour_share", low=0.0, high=0.5),
                FloatRange(name="popular_share", low=0.0, high=0.3),
                FloatRange(name="exposed_share", low=0.0, high=0.2),
                IntRange(name="embedding_size", low=8, high=64, log=True),
                IntRange(name="crosses", low=1, high=4),
                FloatRange(name="learning_rate", low=2e-4, high=2e-2, log=True),
                FloatRange(name="l2", low=1e-7, high=1e-2, log=True),
                IntRange(name="epochs", low=1, high=20, log=True),
            ),
        ),
    )

    @classmethod
    def document(cls, config: DcnConfig) -> Architecture:
        """The crossed and the deep part side by side."""
        return documents.ranker(
            "dcn", width=config.embedding_size, hidden=config.deep, crosses=config.crosses
        )
