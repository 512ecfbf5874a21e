"""Same seed, config and data: the same weights, and weights that survive a round trip."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.retrieval.bpr import BprConfig, BprMF
from agenticrs.agents.retrieval.ease import Ease, EaseConfig
from agenticrs.agents.retrieval.itemknn import ItemKNN, ItemKNNConfig
from agenticrs.agents.retrieval.popularity import Popularity, PopularityConfig
from agenticrs.agents.training_data import TrainingData

AGENTS: list[tuple[type[Any], AgentConfig]] = [
    (Popularity, PopularityConfig()),
    (ItemKNN, ItemKNNConfig(neighbours=7)),
    (Ease, EaseConfig()),
    (BprMF, BprConfig(embedding_size=4, epochs=2, batch_size=32)),
]
each_agent = pytest.mark.parametrize(
    ("agent_type", "config"), AGENTS, ids=[agent.spec.name for agent, _ in AGENTS]
)


@each_agent
def test_the_same_seed_gives_the_same_weights(
    agent_type: type[Any], config: AgentConfig, random_data: TrainingData
) -> None:
    first, second = agent_type(config, seed=5), agent_type(config, seed=5)
    first.fit(random_data, Budget())
    second.fit(random_data, Budget())
    for name, weight in first.state().items():
        assert torch.equal(weight, second.state()[name]), name


@each_agent
def test_a_loaded_agent_acts_as_the_fitted_one(
    agent_type: type[Any], config: AgentConfig, random_data: TrainingData
) -> None:
    agent = agent_type(config)
    agent.fit(random_data, Budget())
    loaded = agent_type(config)
    loaded.load(agent.state(), n_users=random_data.n_users, n_items=random_data.n_items)
    expected = agent.act(random_data.histories, [], 10)
    actual = loaded.act(random_data.histories, [], 10)
    assert torch.equal(actual.items, expected.items)
    assert torch.equal(actual.scores, expected.scores)


@each_agent
def test_the_static_estimate_is_the_number_of_weights(
    agent_type: type[Any], config: AgentConfig, random_data: TrainingData
) -> None:
    agent = agent_type(config)
    agent.fit(random_data, Budget())
    weights = sum(weight.numel() for weight in agent.state().values())
    assert agent_type.static_check(config, random_data.n_users, random_data.n_items) == weights
