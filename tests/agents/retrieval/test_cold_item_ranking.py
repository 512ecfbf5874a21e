"""New items in whole lists: beside popularity and chance, and for users whom nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.contract import small_log
from agenticrs.agents.retrieval import cold_item
from agenticrs.agents.retrieval.cold_item import ColdItem, ColdItemConfig
from agenticrs.agents.retrieval.popularity import Popularity, PopularityConfig
from agenticrs.agents.training_data import FeatureTensors, TrainingData

N_USERS, N_ITEMS, N_NEW, TASTES, IDLE_TAGS, TAKEN = 300, 200, 40, 8, 6, 10


def world() -> tuple[TrainingData, Tensor]:
    """A log in which the last 40 items are not, and how much users like each item, (U, I).

    Users take what they like, with some chance. One tag of an item says of what kind it is; its
    number and two more tags say nothing.
    """
    generator = torch.Generator().manual_seed(4)
    kind = torch.arange(N_ITEMS) % TASTES
    noise = torch.rand(N_ITEMS, IDLE_TAGS, generator=generator).topk(2, dim=1).indices
    tags = torch.cat([one_hot(kind, TASTES), one_hot(noise, IDLE_TAGS).sum(1)], 1).float()
    taste = torch.randint(TASTES, (N_USERS,), generator=generator)
    liking = (taste[:, None] == kind).float()
    chance = torch.rand(N_USERS, N_ITEMS, generator=generator)
    known = (liking + 0.7 * chance)[:, : N_ITEMS - N_NEW]
    taken = known.topk(TAKEN, dim=1).indices
    data = replace(
        small_log(),
        n_users=N_USERS,
        n_items=N_ITEMS,
        histories=UserBatch(
            torch.arange(N_USERS), torch.arange(N_USERS + 1) * TAKEN, taken.flatten()
        ),
        item_features=FeatureTensors(
            codes=torch.zeros(N_ITEMS, 0).long(),
            cardinality=(),
            tags=tags,
            numeric=torch.randn(N_ITEMS, 1, generator=generator),
        ),
    )
    return data, liking


def fitted(data: TrainingData) -> ColdItem:
    agent = ColdItem(ColdItemConfig(embedding_size=16, epochs=5, ridge=1.0), seed=1)
    agent.fit(data, Budget())
    return agent


def precision(scores: Tensor, liking: Tensor) -> float:
    """Share of what is liked among the five best of the new items."""
    best = scores[:, -N_NEW:].topk(5, dim=1).indices
    return float(liking[:, -N_NEW:].gather(1, best).mean())


def test_new_items_are_ranked_far_better_than_by_popularity_or_chance() -> None:
    data, liking = world()
    popular = Popularity(PopularityConfig())
    popular.fit(data, Budget())
    chance = torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0))
    found = precision(fitted(data).score(data.histories), liking)
    assert found > 0.6
    assert found > 3 * precision(popular.score(data.histories), liking)
    assert found > 3 * precision(chance, liking)


def test_new_items_get_into_the_lists_of_users_whom_nobody_knows() -> None:
    data, liking = world()
    agent = fitted(data)
    strangers = replace(data.histories, users=torch.full((N_USERS,), -1))
    answer = agent.act(strangers, (), 20)
    assert torch.equal(answer.items, agent.act(data.histories, (), 20).items)
    new = answer.items >= N_ITEMS - N_NEW
    assert float(new.float().mean()) > 0.05
    assert float(liking.gather(1, answer.items)[new].mean()) > 0.6


def test_the_same_seed_puts_items_at_the_same_place() -> None:
    data, _ = world()
    assert torch.equal(fitted(data).items, fitted(data).items)


def test_blocks_of_items_give_what_all_at_once_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = world()
    whole = fitted(data).items
    monkeypatch.setattr(cold_item, "_ITEMS_AT_ONCE", 33)
    torch.testing.assert_close(fitted(data).items, whole, rtol=1e-4, atol=1e-5)
