from __future__ import annotations

from typing import Any

import pytest
import torch

from agenticrs.agents.agent import Budget, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.bpr import BprConfig, BprMF
from agenticrs.agents.retrieval.popularity import Popularity, PopularityConfig
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.errors import AgentError

CONFIG = BprConfig(embedding_size=8, epochs=15, batch_size=64, learning_rate=0.02, l2=1e-3)


def precision(agent: Retriever[Any], data: TrainingData, relevant: torch.Tensor) -> float:
    best = agent.act(data.histories, [], 10).items
    return float(relevant.gather(1, best).float().mean())


def test_it_learns_two_tastes_that_popularity_cannot_tell_apart(
    blocks: tuple[TrainingData, torch.Tensor],
) -> None:
    data, relevant = blocks
    agent = BprMF(CONFIG)
    agent.fit(data, Budget())
    popularity = Popularity(PopularityConfig())
    popularity.fit(data, Budget())
    assert precision(agent, data, relevant) > 0.9
    assert precision(popularity, data, relevant) < 0.7


def test_the_loss_falls(blocks: tuple[TrainingData, torch.Tensor]) -> None:
    data, _ = blocks
    told: list[tuple[float, str]] = []
    BprMF(CONFIG).fit(data, Budget(report=lambda fraction, text: told.append((fraction, text))))
    losses = [float(text.rsplit(" ", 1)[1]) for _, text in told]
    assert len(told) == 15
    assert told[-1][0] == 1.0
    assert losses[-1] < 0.5 * losses[0]


def test_an_unknown_user_is_served_from_the_history(
    blocks: tuple[TrainingData, torch.Tensor],
) -> None:
    data, _ = blocks
    agent = BprMF(CONFIG)
    agent.fit(data, Budget())
    stranger = UserBatch(torch.tensor([-1]), torch.tensor([0, 3]), torch.tensor([31, 35, 40]))
    best = agent.act(stranger, [], 10).items[0]
    assert (best >= 30).all()
    nobody = UserBatch(torch.tensor([-1]), torch.tensor([0, 0]), torch.empty(0, dtype=torch.int64))
    assert torch.isfinite(agent.score(nobody)).all()


def test_training_that_diverges_is_an_error(blocks: tuple[TrainingData, torch.Tensor]) -> None:
    data, _ = blocks
    agent = BprMF(BprConfig(learning_rate=1e30, epochs=3, batch_size=64))
    with pytest.raises(AgentError, match="diverged"):
        agent.fit(data, Budget())


def test_no_time_still_means_one_epoch(blocks: tuple[TrainingData, torch.Tensor]) -> None:
    data, _ = blocks
    told: list[str] = []
    agent = BprMF(CONFIG)
    agent.fit(data, Budget(seconds=0.0, report=lambda fraction, text: told.append(text)))
    assert len(told) == 1
    assert told[0].startswith("epoch 1 of 15")
