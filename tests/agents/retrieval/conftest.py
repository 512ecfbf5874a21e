"""Small training data made by hand, for tests that check a formula or a behaviour."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.training_data import Events, FeatureTensors, TrainingData

MakeData = Callable[..., TrainingData]


def features(n: int) -> FeatureTensors:
    return FeatureTensors(
        codes=torch.zeros(n, 0, dtype=torch.int64),
        cardinality=(),
        tags=torch.zeros(n, 0),
        numeric=torch.zeros(n, 0),
    )


def data_of(
    histories: list[list[int]], n_items: int, times: list[int] | None = None
) -> TrainingData:
    lengths = torch.tensor([len(history) for history in histories])
    items = torch.tensor([item for history in histories for item in history], dtype=torch.int64)
    offsets = torch.zeros(len(histories) + 1, dtype=torch.int64)
    offsets[1:] = lengths.cumsum(0)
    users = torch.arange(len(histories))
    batch = UserBatch(users, offsets, items)
    places = [place + 1 for history in histories for place in range(len(history))]
    return TrainingData(
        n_users=len(histories),
        n_items=n_items,
        histories=batch,
        events=Events(
            user=batch.rows,
            item=items,
            label=torch.ones(len(items)),
            timestamp=torch.tensor(places if times is None else times, dtype=torch.int64),
        ),
        user_features=features(len(histories)),
        item_features=features(n_items),
    )


def random_histories(n_users: int, n_items: int, length: int, seed: int) -> list[list[int]]:
    """Histories of different lengths without repeats; popular items have low numbers."""
    generator = torch.Generator().manual_seed(seed)
    weights = 1.0 / torch.arange(1, n_items + 1)
    lengths = torch.randint(1, length + 1, (n_users,), generator=generator).tolist()
    return [torch.multinomial(weights, n, generator=generator).tolist() for n in lengths]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_data() -> MakeData:
    """A function that builds TrainingData from lists of items, oldest first."""
    return data_of


@pytest.fixture
def random_data() -> TrainingData:
    """60 users, 30 items, skewed popularity."""
    return data_of(random_histories(60, 30, 12, seed=1), 30)


@pytest.fixture
def blocks() -> tuple[TrainingData, torch.Tensor]:
    """Two tastes: even users had 12 of items 0-29, odd users 12 of 30-59, and what remains.

    Returns the data and a mask (80, 60) of the unseen items of each user's own block.
    """
    generator = torch.Generator().manual_seed(3)
    histories = [
        (torch.randperm(30, generator=generator)[:12] + 30 * (user % 2)).tolist()
        for user in range(80)
    ]
    relevant = torch.zeros(80, 60, dtype=torch.bool)
    for user, history in enumerate(histories):
        relevant[user, 30 * (user % 2) : 30 * (user % 2) + 30] = True
        relevant[user, history] = False
    return data_of(histories, 60), relevant
