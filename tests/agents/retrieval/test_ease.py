from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.retrieval import ease
from agenticrs.agents.retrieval.ease import Ease, EaseConfig
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.errors import AgentError

MakeData = Callable[..., TrainingData]


def matrix_of(data: TrainingData) -> npt.NDArray[np.float64]:
    X = np.zeros((data.n_users, data.n_items))
    X[data.histories.rows, data.histories.items] = 1
    return X


def fitted(data: TrainingData, **config: float) -> Ease:
    agent = Ease(EaseConfig(**config))
    agent.fit(data, Budget())
    return agent


def test_weights_follow_the_closed_form_of_the_paper(random_data: TrainingData) -> None:
    X = matrix_of(random_data)
    P = np.linalg.inv(X.T @ X + 7.0 * np.eye(30))
    B = np.eye(30) - P / np.diag(P)
    agent = fitted(random_data, l2=7.0, half_life=1e9)
    np.testing.assert_allclose(agent.weights, B, atol=1e-5)
    np.testing.assert_allclose(agent.score(random_data.histories), X @ B, atol=1e-4)


def test_fewer_users_than_items_lead_to_the_same_weights(
    random_data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = Ease(EaseConfig(l2=20.0))
    direct.fit(random_data, Budget())
    monkeypatch.setattr(ease, "_FEW_USERS", 1e9)
    monkeypatch.setattr(ease, "_CELLS_AT_ONCE", 7 * 30)
    by_users = Ease(EaseConfig(l2=20.0))
    by_users.fit(random_data, Budget())
    torch.testing.assert_close(by_users.weights, direct.weights, rtol=1e-3, atol=1e-5)


def test_the_penalty_divides_by_counts_to_its_power(random_data: TrainingData) -> None:
    plain = fitted(random_data, popularity_penalty=0.0)
    damped = fitted(random_data, popularity_penalty=0.5)
    counts = torch.tensor(matrix_of(random_data).sum(0), dtype=torch.float32).clamp(min=1)
    torch.testing.assert_close(damped.weights, plain.weights / counts.sqrt())


def test_old_entries_weigh_less(make_data: MakeData) -> None:
    data = make_data([[0, 1], [0, 1], [2, 3], [2, 3], [0, 2]], 4)
    agent = fitted(data, l2=1.0, half_life=1.0)
    expected = 0.5 * agent.weights[0] + agent.weights[2]
    torch.testing.assert_close(agent.score(data.histories)[4], expected, atol=1e-5, rtol=0)


def test_where_single_precision_fails_double_is_tried_and_then_it_says_so() -> None:
    # Rank 10 of 100, whole numbers, and a ridge below float32's resolution of the eigenvalues.
    factors = torch.randint(600, (10, 100), generator=torch.Generator().manual_seed(0)).float()
    deficient = factors.T @ factors
    nearly = deficient + 0.25 * torch.eye(100)
    assert int(torch.linalg.cholesky_ex(nearly).info) > 0
    assert torch.isfinite(ease.inverse(nearly)).all()
    with pytest.raises(AgentError, match="cannot invert"):
        ease.inverse(deficient - torch.eye(100))


def test_a_catalogue_that_is_too_large_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(AgentError, match="20,001 items"):
        Ease.static_check(EaseConfig(), 10, 20_001)
    assert Ease.static_check(EaseConfig(), 10, 1000) == 1_001_000
