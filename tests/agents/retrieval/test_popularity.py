from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.retrieval.popularity import Popularity, PopularityConfig
from agenticrs.agents.training_data import TrainingData

MakeData = Callable[..., TrainingData]
DAY = 86_400
START = 1_700_000_000


def fitted(data: TrainingData, half_life_days: float) -> Popularity:
    agent = Popularity(PopularityConfig(half_life_days=half_life_days))
    agent.fit(data, Budget())
    return agent


def test_with_an_endless_half_life_scores_are_shares_of_plain_counts(
    random_data: TrainingData,
) -> None:
    agent = fitted(random_data, 1e9)
    counts = np.bincount(random_data.histories.items.numpy(), minlength=30)
    np.testing.assert_allclose(agent.popularity, counts / counts.sum(), rtol=1e-5)


def test_a_positive_one_half_life_old_counts_half(make_data: MakeData) -> None:
    times = [START, START + 10 * DAY, START + 10 * DAY]
    agent = fitted(make_data([[0, 1], [1]], 3, times), 10.0)
    torch.testing.assert_close(agent.popularity, torch.tensor([0.5, 2.0, 0.0]) / 2.5)


def test_places_instead_of_times_age_by_share_of_the_users_own_history(make_data: MakeData) -> None:
    # Of four entries the first is three quarters of the history old, whatever others have.
    agent = fitted(make_data([[0, 1, 2, 3], [4]], 5), 75.0)
    torch.testing.assert_close(agent.popularity[0] / agent.popularity[3], torch.tensor(0.5))
    torch.testing.assert_close(agent.popularity[3], agent.popularity[4])


def test_rows_that_are_no_positives_do_not_count(random_data: TrainingData) -> None:
    events = random_data.events
    only_zero = (events.item == 0).to(torch.float32)
    data = TrainingData(
        n_users=random_data.n_users,
        n_items=random_data.n_items,
        histories=random_data.histories,
        events=type(events)(events.user, events.item, only_zero, events.timestamp),
        user_features=random_data.user_features,
        item_features=random_data.item_features,
    )
    agent = fitted(data, 1e9)
    assert agent.popularity[0] == 1.0
    assert agent.popularity[1:].sum() == 0.0
