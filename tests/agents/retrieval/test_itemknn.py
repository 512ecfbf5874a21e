from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval import itemknn
from agenticrs.agents.retrieval.itemknn import ItemKNN, ItemKNNConfig
from agenticrs.agents.training_data import TrainingData

MakeData = Callable[..., TrainingData]


def reference(
    histories: list[list[int]], n_items: int, config: ItemKNNConfig
) -> npt.NDArray[np.float64]:
    """The same model in numpy, written as its definition reads."""
    X = np.zeros((len(histories), n_items))
    for user, items in enumerate(histories):
        X[user, items] = 1
    G = X.T @ X
    counts = np.diag(G)
    S = G / (np.outer(counts, counts) ** config.exponent + config.shrinkage)
    np.fill_diagonal(S, 0)
    scores = np.zeros((len(histories), n_items))
    for j in range(n_items):
        keep = np.argsort(-S[j], kind="stable")[: config.neighbours]
        S[j, np.setdiff1d(np.arange(n_items), keep)] = 0
    for user, items in enumerate(histories):
        for age, j in enumerate(reversed(items)):
            scores[user] += S[j] * 0.5 ** (age / config.half_life)
    return scores


def lists(batch: UserBatch) -> list[list[int]]:
    return [
        batch.items[start:stop].tolist()
        for start, stop in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    ]


def test_scores_agree_with_a_dense_reference(random_data: TrainingData) -> None:
    # All neighbours: ties at the cut would be broken differently by the two.
    config = ItemKNNConfig(neighbours=30, shrinkage=3.0, exponent=0.4, half_life=2.0)
    agent = ItemKNN(config)
    agent.fit(random_data, Budget())
    expected = reference(lists(random_data.histories), 30, config)
    np.testing.assert_allclose(agent.score(random_data.histories), expected, atol=1e-5)


def test_only_the_nearest_items_get_votes(random_data: TrainingData) -> None:
    agent = ItemKNN(ItemKNNConfig(neighbours=5))
    agent.fit(random_data, Budget())
    wide = ItemKNN(ItemKNNConfig(neighbours=30))
    wide.fit(random_data, Budget())
    assert agent.near.shape == (30, 5)
    torch.testing.assert_close(agent.similarity, wide.similarity[:, :5])


def test_blocks_of_items_change_nothing(
    random_data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ItemKNN(ItemKNNConfig())
    whole.fit(random_data, Budget())
    monkeypatch.setattr(itemknn, "_CELLS_AT_ONCE", 100)
    blocked = ItemKNN(ItemKNNConfig())
    blocked.fit(random_data, Budget())
    torch.testing.assert_close(whole.similarity, blocked.similarity)


def test_a_user_without_history_gets_the_popular_items(make_data: MakeData) -> None:
    data = make_data([[0, 2], [2, 1], [2], []], 4)
    agent = ItemKNN(ItemKNNConfig())
    agent.fit(data, Budget())
    assert agent.act(data.histories, [], 1).items[3].tolist() == [2]
