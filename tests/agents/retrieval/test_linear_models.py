"""iALS, SLIM, co-occurrence and trending against their definitions, computed without cleverness."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.agents.retrieval.conftest import random_histories

from agenticrs.agents.agent import Budget
from agenticrs.agents.retrieval.cooccurrence import Cooccurrence, CooccurrenceConfig
from agenticrs.agents.retrieval.ials import Ials, IalsConfig
from agenticrs.agents.retrieval.slim import Slim, SlimConfig
from agenticrs.agents.retrieval.trending import Trending, TrendingConfig
from agenticrs.agents.training_data import TrainingData

MakeData = Callable[..., TrainingData]
DAY = 86_400


def matrix(data: TrainingData) -> torch.Tensor:
    seen = torch.zeros(data.n_users, data.n_items)
    seen[data.histories.rows, data.histories.items] = 1.0
    return seen


def test_a_solved_vector_is_where_the_gradient_of_the_objective_vanishes(
    make_data: MakeData,
) -> None:
    data = make_data(random_histories(30, 20, 8, seed=1), 20)
    config = IalsConfig(embedding_size=6, epochs=2, unobserved_weight=0.3, l2=0.05, power=0.8)
    agent = Ials(config)
    agent.fit(data, Budget())
    users = agent.queries(data.histories)[:, :-1].double().requires_grad_()
    items, seen = agent.items.double(), matrix(data).double()
    scores = users @ items.T
    loss = (seen * (1 - scores).square()).sum() + 0.3 * scores.square().sum()
    strength = 0.05 * (seen.sum(1) + 0.3 * 20) ** 0.8
    loss = loss + (strength * users.square().sum(1)).sum()
    loss.backward()
    assert users.grad is not None
    assert users.grad.abs().max() < 1e-4


def test_the_objective_of_ials_falls_with_every_round(make_data: MakeData) -> None:
    data = make_data(random_histories(40, 25, 10, seed=2), 25)
    seen, losses = matrix(data), []
    for epochs in (1, 2, 4, 8):
        agent = Ials(IalsConfig(embedding_size=5, epochs=epochs, l2=0.01))
        agent.fit(data, Budget())
        scores = agent.queries(data.histories)[:, :-1] @ agent.items.T
        losses.append(float((seen * (1 - scores) ** 2).sum() + 0.1 * (scores**2).sum()))
    assert losses == sorted(losses, reverse=True)


def test_slim_satisfies_the_conditions_of_its_optimum(make_data: MakeData) -> None:
    data = make_data(random_histories(80, 12, 8, seed=3), 12)
    config = SlimConfig(l1=1.0, l2=5.0, penalty=50.0, iterations=3000, neighbours=12)
    agent = Slim(config)
    agent.fit(data, Budget())
    weights = torch.zeros(12, 12).scatter_(1, agent.near, agent.similarity).double()
    gram = (matrix(data).T @ matrix(data)).double()
    gradient = gram @ weights - gram + 5.0 * weights + 1.0  # of all terms where B > 0
    off = ~torch.eye(12, dtype=torch.bool)
    assert (weights >= 0).all()
    assert (weights.diagonal() == 0).all()
    assert gradient[(weights > 1e-4) & off].abs().max() < 0.05
    assert gradient[(weights == 0) & off].min() > -0.05
    assert (weights > 0).any()
    assert ((weights == 0) & off).any()


def test_more_absolute_penalty_leaves_fewer_neighbours(make_data: MakeData) -> None:
    data = make_data(random_histories(80, 30, 8, seed=4), 30)
    kept = []
    for l1 in (0.1, 2.0, 8.0):
        agent = Slim(SlimConfig(l1=l1, l2=5.0, penalty=50.0, iterations=200))
        agent.fit(data, Budget())
        kept.append(int((agent.similarity > 0).sum()))
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[-1]


@pytest.mark.parametrize(("reach", "window_hours"), [(1, 1e6), (3, 1e6), (3, 1.0)])
def test_pairs_are_counted_by_distance_direction_and_time(
    make_data: MakeData, reach: int, window_hours: float
) -> None:
    histories = [[0, 1, 2, 1, 4], [1, 2], [3], [], [4, 0, 1]]
    times = [n * 1800 for history in histories for n in range(len(history))]
    data = make_data(histories, 5, times=times)
    config = CooccurrenceConfig(
        reach=reach, window_hours=window_hours, backward=0.25, exponent=0.5, shrinkage=2.0
    )
    agent = Cooccurrence(config)
    agent.fit(data, Budget())
    wanted = torch.zeros(5, 5)
    for history in histories:
        for i, early in enumerate(history):
            for j in range(i + 1, len(history)):
                apart = j - i
                if apart <= reach and apart * 0.5 <= window_hours and early != history[j]:
                    wanted[early, history[j]] += 1.0 / apart
                    wanted[history[j], early] += 0.25 / apart
    counts = torch.tensor([float(sum(h.count(i) for h in histories)) for i in range(5)])
    wanted /= (counts[:, None] * counts).sqrt() + 2.0
    found = torch.zeros(5, 5).scatter_add_(1, agent.near, agent.similarity)
    torch.testing.assert_close(found, wanted)


def test_what_rises_is_put_before_what_was_always_liked(make_data: MakeData) -> None:
    begin = 1_600_000_000
    steady = [[0]] * 60
    rising = [[1]] * 10
    times = [begin + n * DAY for n in range(60)] + [begin + 59 * DAY] * 10
    data = make_data(steady + rising, 3, times=times)
    for momentum, first in ((1.0, 1), (0.0, 1)):
        agent = Trending(TrendingConfig(now_days=1.0, usual_days=60.0, momentum=momentum))
        agent.fit(data, Budget())
        assert int(agent.scores.argmax()) == first
    usual = Trending(TrendingConfig(now_days=60.0, usual_days=60.0, momentum=0.0))
    usual.fit(data, Budget())
    assert usual.scores.argsort(descending=True).tolist() == [0, 1, 2]
