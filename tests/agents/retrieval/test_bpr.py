from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from agenticrs.agents.agent import Budget, Retriever
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval import bpr
from agenticrs.agents.retrieval.bpr import BprConfig, BprMF, _Factors, _PairByPair
from agenticrs.agents.retrieval.popularity import Popularity, PopularityConfig
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.errors import AgentError

CONFIG = BprConfig(embedding_size=8, epochs=15, batch_size=64, learning_rate=0.8, l2=1e-3)


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


def test_a_step_is_the_gradient_times_each_rows_rate() -> None:
    config = BprConfig(embedding_size=4, learning_rate=0.3, l2=0.2, batch_size=6)
    factors = _Factors(3, 5, config, torch.Generator().manual_seed(0))
    users, items = factors.users.clone().requires_grad_(), factors.items.clone().requires_grad_()
    bias = factors.bias.clone().requires_grad_()
    user = torch.tensor([0, 0, 1, 2, 0, 1])
    better, worse = torch.tensor([0, 1, 0, 3, 2, 0]), torch.tensor([4, 0, 2, 2, 4, 3])
    gain = (users[user] * (items[better] - items[worse])).sum(1) + bias[better] - bias[worse]
    losses = functional.softplus(-gain)
    slopes = torch.autograd.grad(losses.sum(), (users, items, bias))
    square = torch.sigmoid(-gain.detach()).square()
    loss = factors.learn(user, better, worse[:, None])
    torch.testing.assert_close(loss, losses.mean().detach())
    of_users = torch.zeros(3).index_add_(0, user, square)
    of_items = torch.zeros(5).index_add_(0, better, square).index_add_(0, worse, square)
    for table, slope, trained, sums, count in (
        (users, slopes[0], factors.users, of_users, torch.bincount(user)),
        (items, slopes[1], factors.items, of_items, torch.bincount(torch.cat([better, worse]))),
    ):
        rate = 0.3 / sums.sqrt()[:, None]
        shrunk = torch.exp(-0.2 * rate * count[:, None])
        torch.testing.assert_close(trained, (table.detach() - rate * slope) * shrunk)
    torch.testing.assert_close(factors.bias, -0.3 / of_items.sqrt() * slopes[2])


def test_of_several_drawn_items_the_best_scored_is_trained_on() -> None:
    config = BprConfig(embedding_size=4, l2=0.0)
    factors = _Factors(1, 3, config, torch.Generator().manual_seed(0))
    factors.bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
    before = factors.items.clone()
    factors.learn(torch.tensor([0]), torch.tensor([0]), torch.tensor([[2, 1]]))
    assert (factors.items != before).any(1).tolist() == [True, True, False]


def test_the_number_of_threads_does_not_change_the_weights(
    blocks: tuple[TrainingData, torch.Tensor],
) -> None:
    data, _ = blocks
    weights, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        agent = BprMF(BprConfig(epochs=2, batch_size=512))
        agent.fit(data, Budget())
        weights.append(agent.state())
    torch.set_num_threads(before)
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=1e-5, atol=1e-6)


def test_pair_by_pair_is_what_batches_of_one_are() -> None:
    draw = torch.Generator().manual_seed(1)
    users, better = torch.randint(4, (60,), generator=draw), torch.randint(5, (60,), generator=draw)
    for negatives in (1, 3):
        worse = 5 + torch.randint(4, (60, negatives), generator=draw)
        config = BprConfig(embedding_size=5, l2=0.2, batch_size=1)
        trained = []
        for kind in (_Factors, _PairByPair):
            factors = kind(4, 9, config, torch.Generator().manual_seed(0))
            losses = [factors.learn(users, better, worse) for _ in range(2)]
            trained.append({**factors.weights(), "losses": torch.stack(losses)})
        for name, tensor in trained[0].items():
            torch.testing.assert_close(trained[1][name], tensor, rtol=1e-4, atol=1e-5)


def test_a_collision_pair_by_pair_changes_nothing() -> None:
    factors = _PairByPair(1, 2, CONFIG, torch.Generator().manual_seed(0))
    before = {name: tensor.clone() for name, tensor in factors.weights().items()}
    factors.learn(torch.tensor([0]), torch.tensor([1]), torch.tensor([[1]]))
    for name, tensor in factors.weights().items():
        assert torch.equal(tensor, before[name])


def test_many_positives_are_learnt_pair_by_pair_and_as_well(
    blocks: tuple[TrainingData, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, relevant = blocks
    used: list[type] = []
    begin = _PairByPair.__init__

    def noted(self: _PairByPair, *args: Any) -> None:
        used.append(type(self))
        begin(self, *args)

    monkeypatch.setattr(_PairByPair, "__init__", noted)
    states = []
    for many in (1, 1, 10**6):
        monkeypatch.setattr(bpr, "_MANY", many)
        agent = BprMF(CONFIG, seed=1)
        agent.fit(data, Budget())
        assert precision(agent, data, relevant) > 0.9
        states.append(agent.state())
    assert used == [_PairByPair] * 2
    for name, weight in states[0].items():
        assert torch.equal(weight, states[1][name])
    monkeypatch.setattr(bpr, "_MANY", 1)
    agent = BprMF(BprConfig(learning_rate=1e30, epochs=3))
    with pytest.raises(AgentError, match="diverged"):
        agent.fit(data, Budget())
