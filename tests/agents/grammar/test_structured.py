from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.catalogue import load_agents
from agenticrs.agents.contract import AgentContract, small_log
from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.structured import Structured, StructuredConfig, architecture, recipe
from agenticrs.agents.ranking.classics import LogisticRegression
from agenticrs.agents.ranking.dcn import DcnV2
from agenticrs.agents.retrieval.sasrec import SASRec, SASRecConfig
from agenticrs.platform.errors import AgentError

CONVOLUTION = documents.sequential(
    [{"block": "convolution", "name": "query", "input": "x", "kernel": 3}],
    width=8,
    length=12,
    dropout=0.0,
)


class TestSASRecWithAnotherStructure(AgentContract):
    agent_type = SASRec
    config: ClassVar[dict[str, Any]] = {
        "structure": CONVOLUTION.model_dump(mode="json"),
        "epochs": 2,
        "max_length": 12,
    }


class TestDcnWithAnotherStructure(AgentContract):
    agent_type = DcnV2
    config: ClassVar[dict[str, Any]] = {
        "structure": documents.ranker("din", width=4, hidden=8).model_dump(mode="json"),
        "epochs": 2,
        "negatives": 5,
    }


def test_a_structure_takes_the_place_of_the_agents_own() -> None:
    config = SASRecConfig(structure=CONVOLUTION, epochs=1, max_length=12)
    assert architecture(SASRec, config) == CONVOLUTION
    agent = SASRec(config)
    agent.fit(small_log(), Budget())
    blocks = {block.block for block in agent.network.architecture.blocks}
    assert "convolution" in blocks
    assert "attention" not in blocks
    assert torch.isfinite(agent.table).all()


@pytest.mark.parametrize(
    ("agent", "structure", "message"),
    [
        (SASRec, documents.ranker("dcn"), "dot head"),
        (DcnV2, CONVOLUTION, "logits head with one task"),
        (DcnV2, documents.ranker("dcn", tasks=("click", "like")), "logits head with one task"),
        (LogisticRegression, documents.ranker("dcn"), "is fixed"),
    ],
)
def test_a_structure_that_the_agent_cannot_be_built_from_is_refused(
    agent: Any, structure: Any, message: str
) -> None:
    config = agent.config_type(structure=structure)
    with pytest.raises(AgentError, match=message):
        agent.static_check(config, 40, 30)


def test_the_recipe_is_what_leaves_the_document_alone() -> None:
    found = {p.name for p in recipe(SASRec, SASRecConfig, SASRec.spec.space)}
    assert found == {"loss", "negatives", "learning_rate", "weight_decay", "epochs"}


def test_every_agent_with_a_grammar_can_take_a_structure() -> None:
    drawn = {n: a for n, a in load_agents().items() if a.spec.space.grammar is not None}
    assert {"sasrec", "hstu", "gru4rec", "two_tower", "lightgcn", "dcn", "deepfm", "din"} == set(
        drawn
    )
    for name, agent in drawn.items():
        assert issubclass(agent.config_type, StructuredConfig), name
        assert issubclass(agent, Structured), name
        assert recipe(agent, agent.config_type, agent.spec.space), name
