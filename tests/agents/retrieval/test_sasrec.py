from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.sasrec import SASRec, SASRecConfig
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.errors import AgentError

MakeData = Callable[..., TrainingData]
CONFIG = SASRecConfig(
    embedding_size=16, layers=1, max_length=8, epochs=40, batch_size=32, learning_rate=0.01
)


def batch_of(*histories: list[int]) -> UserBatch:
    lengths = torch.tensor([0, *map(len, histories)])
    items = torch.tensor([item for history in histories for item in history], dtype=torch.int64)
    return UserBatch(torch.full((len(histories),), -1), lengths.cumsum(0), items)


@pytest.fixture
def cycle(make_data: MakeData) -> TrainingData:
    """Everybody walks round a ring of 24 items; only the order tells what comes next."""
    return make_data([[(start + step) % 24 for step in range(10)] for start in range(24)] * 3, 24)


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_it_learns_what_follows_what(cycle: TrainingData, loss: str) -> None:
    agent = SASRec(CONFIG.model_copy(update={"loss": loss}))
    agent.fit(cycle, Budget())
    histories = [[(place - 2) % 24, (place - 1) % 24, place] for place in range(24)]
    best = agent.act(batch_of(*histories), [], 1).items[:, 0]
    follows = (torch.arange(24) + 1) % 24
    assert (best == follows).float().mean() > 0.9


def test_only_the_newest_items_are_read(cycle: TrainingData) -> None:
    agent = SASRec(CONFIG.model_copy(update={"epochs": 1}))
    agent.fit(cycle, Budget())
    recent = [1, 2, 3, 4, 5, 6, 7, 8]
    scores = agent.score(batch_of(recent, [20, 21, *recent]))
    torch.testing.assert_close(scores[0], scores[1])


def test_how_long_ago_something_was_can_decide_what_follows(make_data: MakeData) -> None:
    # Two items: within a minute the next one belongs to the first, after a year to the second.
    cases = [(a, b, late) for a in range(3) for b in range(3) for late in (False, True)] * 8
    data = make_data([[a, 3 + b, 9 + b if late else 6 + a] for a, b, late in cases], 12)
    gap = torch.tensor([365 * 86_400 if late else 60 for *_, late in cases])
    times = torch.stack([torch.zeros_like(gap), gap, 2 * gap], 1).flatten()
    timed = replace(data, histories=replace(data.histories, times=times))
    changes = {"layers": 2, "batch_size": 16, "learning_rate": 0.02, "dropout": 0.0, "times": 16}
    agent = SASRec(CONFIG.model_copy(update=changes))
    agent.fit(timed, Budget())
    best = agent.act(timed.histories.without_newest(), [], 1).items[:, 0]
    # Who does not know the time is right half of the time: all else is the same.
    assert (best == data.histories.items.view(-1, 3)[:, 2]).float().mean() > 0.95


def test_an_empty_history_gets_the_popular_items(make_data: MakeData) -> None:
    data = make_data([[0, 1], [2, 1], [1, 0]], 4)
    agent = SASRec(CONFIG.model_copy(update={"epochs": 1}))
    agent.fit(data, Budget())
    for users in (batch_of([]), batch_of([], [0, 2])):
        assert agent.act(users, [], 2).items[0].tolist() == [1, 0]


def test_histories_of_one_item_leave_nothing_to_train_on_and_are_no_error(
    make_data: MakeData,
) -> None:
    data = make_data([[0], [1], []], 3)
    agent = SASRec(CONFIG)
    agent.fit(data, Budget())
    assert torch.isfinite(agent.score(data.histories)).all()


def test_training_that_diverges_is_an_error(cycle: TrainingData) -> None:
    agent = SASRec(CONFIG.model_copy(update={"learning_rate": 1e30}))
    with pytest.raises(AgentError, match="diverged"):
        agent.fit(cycle, Budget())


def test_less_effort_means_fewer_epochs(cycle: TrainingData) -> None:
    told: list[str] = []
    SASRec(CONFIG).fit(cycle, Budget(effort=0.1, report=lambda fraction, text: told.append(text)))
    assert len(told) == 4


def test_heads_must_divide_the_embedding() -> None:
    with pytest.raises(ValidationError, match="heads must divide embedding_size, got 3 and 64"):
        SASRecConfig(heads=3)


def test_the_static_estimate_is_the_number_of_weights(cycle: TrainingData) -> None:
    agent = SASRec(CONFIG.model_copy(update={"epochs": 1, "layers": 2}))
    agent.fit(cycle, Budget())
    weights = sum(weight.numel() for weight in agent.state().values())
    assert SASRec.static_check(agent.config, cycle.n_users, cycle.n_items) == weights
