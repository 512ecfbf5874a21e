"""HSTU: gated attention without a softmax (Zhai et al. 2024, arXiv 2402.17152, section 3.3)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.retriever import DocumentConfig, DocumentRetriever
from agenticrs.agents.retrieval.common import RETRIEVAL_LOOP, RETRIEVAL_REWARD
from agenticrs.registry.spec import AgentSpec, Choice, DecisionSpace, FloatRange, IntRange


class HstuConfig(DocumentConfig):
    """Size and training of the layers."""

    embedding_size: int = Field(default=64, ge=2)
    """Length of item vectors and of all layers."""
    layers: int = Field(default=4, ge=1)
    """Layers; each costs half of one of SASRec's, having no feed-forward part."""
    heads: int = Field(default=2, ge=1)
    """Attention heads; must divide ``embedding_size``."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of activations zeroed in training."""
    times: int = Field(default=32, ge=0, le=128)
    """Spans of time between items that the attention tells apart by a bias; 0 = none."""
    epochs: int = Field(default=30, ge=1)
    """Passes over all transitions."""

    @model_validator(mode="after")
    def _check(self) -> HstuConfig:
        if self.embedding_size % self.heads:
            raise ValueError(
                f"heads must divide embedding_size, got {self.heads} and {self.embedding_size}"
            )
        return self


class Hstu(DocumentRetriever[HstuConfig]):
    """Weighs the past by SiLU of the products plus a bias, and gates the result.

    The bias is by distance and by elapsed time. The published code counts time up to the
    item that is to be predicted, which is known in a log and not when an answer is wanted; here it
    is counted between items of the history, so that training knows no more than serving does.
    """

    config_type = HstuConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="hstu",
        kind="model",
        role="retrieval",
        summary="Gated attention over the history, with weights that do not sum to one.",
        paper="Zhai et al. 2024, Actions speak louder than words",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            grammar="retrieval",
            parameters=(
                Choice(name="embedding_size", values=(32, 64, 96, 128)),
                IntRange(name="layers", low=1, high=6),
                IntRange(name="max_length", low=10, high=200, log=True),
                FloatRange(name="dropout", low=0.0, high=0.6),
                Choice(name="loss", values=("softmax", "sampled")),
                FloatRange(name="learning_rate", low=2e-4, high=1e-2, log=True),
                FloatRange(name="weight_decay", low=0.0, high=0.3),
                IntRange(name="epochs", low=10, high=100, log=True),
            ),
        ),
    )

    @classmethod
    def document(cls, config: HstuConfig) -> Architecture:
        """Item vectors, places, gated attention, tied scores."""
        return documents.hstu(
            width=config.embedding_size,
            layers=config.layers,
            heads=config.heads,
            length=config.max_length,
            dropout=config.dropout,
            times=config.times,
        )
