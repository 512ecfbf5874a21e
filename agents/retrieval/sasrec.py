"""SASRec: self-attention over the history (Kang & McAuley 2018, arXiv 1808.09781).

Trained with the full cross-entropy over the catalogue by default, which serves it far better
than the paper's one sampled negative (Klenitskiy & Vasilev 2023, arXiv 2309.07602).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.retriever import DocumentConfig, DocumentRetriever
from agenticrs.agents.retrieval.common import RETRIEVAL_LOOP, RETRIEVAL_REWARD
from agenticrs.registry.spec import AgentSpec, Choice, DecisionSpace, FloatRange, IntRange


class SASRecConfig(DocumentConfig):
    """Size and training of the transformer."""

    embedding_size: int = Field(default=64, ge=2)
    """Length of item vectors and of all layers."""
    layers: int = Field(default=2, ge=1)
    """Blocks of attention and feed-forward."""
    heads: int = Field(default=1, ge=1)
    """Attention heads; must divide ``embedding_size``."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of activations zeroed in training."""
    norm: Literal["pre", "post"] = "pre"
    """Layer norms before (steadier) or behind the residual branches."""
    positions: Literal["learned", "relative", "both"] = "learned"
    """A vector for each place, a bias for each distance in the attention, or both."""
    times: int = Field(default=0, ge=0, le=128)
    """Spans of time between items that the attention tells apart by a bias; 0 = none."""
    epochs: int = Field(default=30, ge=1)
    """Passes over all transitions."""

    @model_validator(mode="after")
    def _check(self) -> SASRecConfig:
        if self.embedding_size % self.heads:
            raise ValueError(
                f"heads must divide embedding_size, got {self.heads} and {self.embedding_size}"
            )
        return self


class SASRec(DocumentRetriever[SASRecConfig]):
    """Reads the newest ``max_length`` items and predicts the next one.

    score(u, i) = h . e_i with h the transformer's last place and e_i the same item vector that
    goes in. Users have no weights of their own: an unknown user is served by the history, an
    empty history by popularity.
    """

    config_type = SASRecConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="sasrec",
        kind="model",
        role="retrieval",
        summary="A transformer that reads the history and predicts what comes next.",
        paper="Kang & McAuley 2018, Self-attentive sequential recommendation",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        space=DecisionSpace(
            grammar="retrieval",
            parameters=(
                Choice(name="embedding_size", values=(32, 64, 96, 128)),
                IntRange(name="layers", low=1, high=3),
                IntRange(name="max_length", low=10, high=200, log=True),
                FloatRange(name="dropout", low=0.0, high=0.6),
                Choice(name="loss", values=("softmax", "sampled", "gbce")),
                IntRange(name="negatives", low=32, high=2048, log=True),
                Choice(name="norm", values=("pre", "post")),
                Choice(name="positions", values=("learned", "both")),
                Choice(name="times", values=(0, 32)),
                FloatRange(name="learning_rate", low=2e-4, high=1e-2, log=True),
                FloatRange(name="weight_decay", low=0.0, high=0.3),
                IntRange(name="epochs", low=10, high=100, log=True),
            ),
        ),
    )

    @classmethod
    def document(cls, config: SASRecConfig) -> Architecture:
        """Attention over item vectors and places, tied scores."""
        return documents.sasrec(
            width=config.embedding_size,
            layers=config.layers,
            heads=config.heads,
            length=config.max_length,
            dropout=config.dropout,
            norm=config.norm,
            places=config.positions != "relative",
            relative=0 if config.positions == "learned" else config.max_length,
            times=config.times,
        )
