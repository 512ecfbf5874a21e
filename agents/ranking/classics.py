"""Rankers to measure others by: LR, FM, DeepFM, and DIN over the behaviour sequence."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.ranker import RANKING_LOOP, DocumentRanker, RankerConfig
from agenticrs.agents.retrieval.common import RETRIEVAL_REWARD
from agenticrs.registry.spec import (
    AgentSpec,
    ConcreteParameter,
    DecisionSpace,
    FloatRange,
    Grammar,
    IntRange,
)

_TRAINING: tuple[ConcreteParameter, ...] = (
    FloatRange(name="upstream_weight", low=0.0, high=10.0),
    FloatRange(name="neighbour_share", low=0.0, high=0.5),
    FloatRange(name="learning_rate", low=2e-4, high=2e-2, log=True),
    FloatRange(name="l2", low=1e-7, high=1e-2, log=True),
    IntRange(name="epochs", low=1, high=20, log=True),
)


def _spec(
    name: str,
    summary: str,
    paper: str,
    parameters: tuple[ConcreteParameter, ...] = (),
    grammar: Grammar | None = None,
) -> AgentSpec:
    return AgentSpec(
        name=name,
        kind="model",
        role="ranking",
        summary=summary,
        paper=paper,
        loop=RANKING_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(parameters=(*_TRAINING, *parameters), grammar=grammar),
    )


class LogisticRegression(DocumentRanker[RankerConfig]):
    """A weight for everything: user, item, features, history, counts. No products."""

    config_type = RankerConfig
    spec: ClassVar[AgentSpec] = _spec(
        "lr",
        "Ranks by a sum of weights: the least that a ranker has to beat.",
        "McMahan et al. 2013, Ad click prediction",
    )

    @classmethod
    def document(cls, config: RankerConfig) -> Architecture:
        """Vectors of width one."""
        return documents.ranker("lr")


class FmConfig(RankerConfig):
    """Size and training of the factors."""

    embedding_size: int = Field(default=32, ge=1)
    """Length of the vectors whose products count."""


class FactorisationMachine(DocumentRanker[FmConfig]):
    """All products of two: user, item, mean and newest of the history."""

    config_type = FmConfig
    spec: ClassVar[AgentSpec] = _spec(
        "fm",
        "Ranks by products of pairs of vectors.",
        "Rendle 2010, Factorization machines",
        (IntRange(name="embedding_size", low=8, high=64, log=True),),
    )

    @classmethod
    def document(cls, config: FmConfig) -> Architecture:
        """Pairs beside the linear part."""
        return documents.ranker("fm", width=config.embedding_size)


class DeepConfig(FmConfig):
    """Size and training of vectors and layers."""

    hidden: int = Field(default=64, ge=1)
    """Width of the hidden layers."""


_DEEP = (
    IntRange(name="embedding_size", low=8, high=64, log=True),
    IntRange(name="hidden", low=16, high=256, log=True),
)


class DeepFm(DocumentRanker[DeepConfig]):
    """A factorisation machine and a deep part on the same vectors."""

    config_type = DeepConfig
    spec: ClassVar[AgentSpec] = _spec(
        "deepfm",
        "Ranks by products of pairs, and by dense layers on the same vectors.",
        "Guo et al. 2017, DeepFM",
        _DEEP,
        "ranking",
    )

    @classmethod
    def document(cls, config: DeepConfig) -> Architecture:
        """Pairs, the linear part and the deep one."""
        return documents.ranker("deepfm", width=config.embedding_size, hidden=config.hidden)


class Din(DocumentRanker[DeepConfig]):
    """The history is weighed anew for each candidate, by how it fits."""

    config_type = DeepConfig
    spec: ClassVar[AgentSpec] = _spec(
        "din",
        "Ranks by the part of the history that each candidate speaks to.",
        "Zhou et al. 2018, Deep interest network",
        _DEEP,
        "ranking",
    )

    @classmethod
    def document(cls, config: DeepConfig) -> Architecture:
        """Target attention and dense layers."""
        return documents.ranker("din", width=config.embedding_size, hidden=config.hidden)
