"""Two towers over content, with and without item ids (Covington et al. 2016; Yi et al. 2019)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.retriever import DocumentConfig, DocumentRetriever
from agenticrs.agents.grammar.training import CatalogueLoss
from agenticrs.agents.retrieval.common import RETRIEVAL_LOOP, RETRIEVAL_REWARD
from agenticrs.registry.spec import AgentSpec, Choice, DecisionSpace, FloatRange, IntRange


class TwoTowerConfig(DocumentConfig):
    """Size and training of both towers."""

    embedding_size: int = Field(default=64, ge=1)
    """Length of the vectors that meet."""
    hidden: int = Field(default=128, ge=1)
    """Width of each tower's hidden layer."""
    ids: bool = True
    """Whether an item has a vector of its own beside what its features say. Without, items that
    nobody has seen yet are placed by their content."""
    words: int = Field(default=4096, ge=0, le=65_536)
    """Vectors for the words of titles, shared by hash; 0: titles are not read."""
    loss: CatalogueLoss = "sampled"
    negatives: int = Field(default=1024, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=1024, ge=1)


class TwoTower(DocumentRetriever[TwoTowerConfig]):
    """An item tower over features and id, a user tower over features and the history's items.

    What is said of an item are its categories, tags (genres), numbers, and the words of its title.
    """

    config_type = TwoTowerConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="two_tower",
        kind="model",
        role="retrieval",
        summary="Meets users and items in one space, out of their features and ids.",
        paper="Yi et al. 2019, Sampling-bias-corrected neural modeling",
        loop=RETRIEVAL_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            grammar="retrieval",
            parameters=(
                IntRange(name="embedding_size", low=16, high=256, log=True),
                IntRange(name="hidden", low=32, high=512, log=True),
                Choice(name="ids", values=(True, False)),
                Choice(name="words", values=(0, 4096)),
                FloatRange(name="learning_rate", low=5e-4, high=2e-2, log=True),
                FloatRange(name="weight_decay", low=0.0, high=0.3),
                IntRange(name="epochs", low=3, high=40, log=True),
            ),
        ),
    )

    @classmethod
    def document(cls, config: TwoTowerConfig) -> Architecture:
        """Feature tables through dense layers; the history by attention and its newest item."""
        return documents.two_tower(
            width=config.embedding_size,
            hidden=config.hidden,
            ids=config.ids,
            words=config.words,
        )
