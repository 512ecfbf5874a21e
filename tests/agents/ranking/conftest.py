"""One thread for the small models of these tests, and a log in which order and taste matter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.training_data import Events, FeatureTensors, TrainingData


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def two_tastes() -> TrainingData:
    """60 users: even ones had 8 of items 0-19, odd ones 8 of 20-39; each was shown 4 others.

    The item features hold one category for each half.
    """
    generator = torch.Generator().manual_seed(3)
    user, item, label = [], [], []
    for row in range(60):
        own, other = (0, 20) if row % 2 == 0 else (20, 0)
        user += [row] * 12
        item += (own + torch.randperm(20, generator=generator)[:8]).tolist()
        item += (other + torch.randperm(20, generator=generator)[:4]).tolist()
        label += [1.0] * 8 + [0.0] * 4
    events = Events(
        torch.tensor(user), torch.tensor(item), torch.tensor(label), torch.arange(len(user))
    )
    return TrainingData(
        n_users=60,
        n_items=40,
        histories=UserBatch(
            torch.arange(60), 8 * torch.arange(61), events.item[events.label > 0.5]
        ),
        events=events,
        user_features=FeatureTensors(
            torch.zeros(60, 0, dtype=torch.int64), (), torch.zeros(60, 0), torch.zeros(60, 0)
        ),
        item_features=FeatureTensors(
            (torch.arange(40) // 20)[:, None], (2,), torch.zeros(40, 0), torch.rand(40, 1)
        ),
    )
