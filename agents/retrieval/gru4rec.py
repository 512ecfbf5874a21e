"""GRU4Rec: a recurrent unit reads the history (Hidasi et al. 2016, arXiv 1511.06939)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.retriever import DocumentConfig, DocumentRetriever
from agenticrs.agents.retrieval.common import RETRIEVAL_LOOP, RETRIEVAL_REWARD
from agenticrs.registry.spec import AgentSpec, Choice, DecisionSpace, FloatRange, IntRange


class Gru4RecConfig(DocumentConfig):
    """Size and training of the recurrent unit."""

    embedding_size: int = Field(default=64, ge=2)
    """Length of item vectors and of the state."""
    layers: int = Field(default=1, ge=1, le=4)
    """Units on top of each other."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of activations zeroed in training."""
    batch_size: int = Field(default=128, ge=1)


class Gru4Rec(DocumentRetriever[Gru4RecConfig]):
    """Reads the newest items one after the other and predicts the next one.

    Trained with the cross-entropy over the catalogue, not with the paper's losses on the other
    targets of a batch.
    """

    config_type = Gru4RecConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="gru4rec",
        kind="model",
        role="retrieval",
        summary="A recurrent unit that reads the history and predicts what comes next.",
        paper="Hidasi et al. 2016, Session-based recommendations with recurrent neural networks",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            grammar="retrieval",
            parameters=(
                Choice(name="embedding_size", values=(32, 64, 128, 256)),
                IntRange(name="layers", low=1, high=2),
                IntRange(name="max_length", low=10, high=100, log=True),
                FloatRange(name="dropout", low=0.0, high=0.6),
                FloatRange(name="learning_rate", low=5e-4, high=1e-2, log=True),
                FloatRange(name="weight_decay", low=0.0, high=0.3),
                IntRange(name="epochs", low=5, high=60, log=True),
            ),
        ),
    )

    @classmethod
    def document(cls, config: Gru4RecConfig) -> Architecture:
        """Item vectors, a recurrent unit, tied scores with a bias."""
        return documents.gru4rec(
            width=config.embedding_size, layers=config.layers, dropout=config.dropout
        )
