"""LightGCN: factors smoothed over the graph of interactions (He et al. 2020, arXiv 2002.02126)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.retriever import DocumentConfig, DocumentRetriever
from agenticrs.agents.grammar.training import CatalogueLoss
from agenticrs.agents.retrieval.common import RETRIEVAL_LOOP, RETRIEVAL_REWARD
from agenticrs.registry.spec import AgentSpec, Choice, DecisionSpace, FloatRange, IntRange


class LightGcnConfig(DocumentConfig):
    """Size and training of the factors."""

    embedding_size: int = Field(default=64, ge=1)
    """Length of the user and item vectors."""
    layers: int = Field(default=2, ge=1, le=6)
    """Steps along the graph whose mean is taken."""
    loss: CatalogueLoss = "sampled"
    """The paper's is ``bpr``; a softmax over many drawn items needs fewer steps."""
    negatives: int = Field(default=1024, ge=1)
    temperature: float = Field(default=0.15, ge=0)
    """The paper's loss is over products (0); cosines forget less of what training has not seen."""
    length_power: float = Field(default=0.5, ge=0, le=1)
    learning_rate: float = Field(default=0.02, gt=0)
    l2: float = Field(default=1e-4, ge=0)
    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=16384, ge=1)
    """Positives in one step. Every step smooths the whole graph once: large batches pay."""


class LightGcn(DocumentRetriever[LightGcnConfig]):
    """score(u, i) = the product of the smoothed vectors.

    A user without a vector is represented by the mean of the item vectors of the history.
    """

    config_type = LightGcnConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="lightgcn",
        kind="model",
        role="retrieval",
        summary="Matrix factorisation that smooths vectors over the graph of interactions.",
        paper="He et al. 2020, LightGCN",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            grammar="retrieval",
            parameters=(
                IntRange(name="embedding_size", low=16, high=256, log=True),
                IntRange(name="layers", low=1, high=4),
                Choice(name="loss", values=("sampled", "bpr")),
                Choice(name="temperature", values=(0.0, 0.07, 0.1, 0.15)),
                FloatRange(name="length_power", low=0.0, high=1.0),
                FloatRange(name="learning_rate", low=1e-3, high=1e-1, log=True),
                FloatRange(name="l2", low=1e-6, high=1e-2, log=True),
                IntRange(name="epochs", low=10, high=100, log=True),
            ),
        ),
    )

    @classmethod
    def document(cls, config: LightGcnConfig) -> Architecture:
        """Two tables, smoothed."""
        return documents.lightgcn(width=config.embedding_size, layers=config.layers)
