"""What is known of recommenders among people must come out among simulated ones."""

from __future__ import annotations

import torch
from torch.nn import functional

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.reranking.mmr import Mmr, MmrConfig
from agenticrs.agents.retrieval.itemknn import ItemKNN, ItemKNNConfig
from agenticrs.agents.retrieval.popularity import Popularity, PopularityConfig
from agenticrs.agents.simulation.outcome import Outcome
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.simulate import Recommender, acting, simulate
from agenticrs.agents.simulation.world import World
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Dataset
from agenticrs.rewards.beyond_accuracy import gini
from agenticrs.rewards.significance import paired_bootstrap

DAYS = 6


def at_random(n_items: int) -> Recommender:
    generator = torch.Generator().manual_seed(0)
    return lambda users, k: torch.randint(n_items, (len(users), k), generator=generator)


def variety(outcome: Outcome, world: World, n_users: int) -> torch.Tensor:
    """Mean distance in topics of all pairs that a user took, (users,); NaN below two items."""
    log = outcome.log
    assert log is not None
    taken = log.positive
    topics = functional.normalize(world.items.tags, dim=1)[log.item[taken]]
    row = log.row[taken]
    total = torch.zeros(n_users, topics.shape[1]).index_add_(0, row, topics)
    n = torch.bincount(row, minlength=n_users).float()
    apart = 1 - (total.square().sum(1) - n) / (n * (n - 1))
    return torch.where(n >= 2, apart, torch.nan)


def exploiting(dataset: Dataset) -> ItemKNN:
    agent = ItemKNN(ItemKNNConfig())
    agent.fit(TrainingData.of(dataset), Budget())
    return agent


def test_exploitation_makes_a_filter_bubble_and_a_diverse_reranker_opens_it(
    dataset: Dataset, population: Population
) -> None:
    world, n = population.world, len(population)
    agent = exploiting(dataset)
    mmr = Mmr(MmrConfig(trade_off=0.3))
    mmr.fit(TrainingData.of(dataset), Budget())

    def reranked(users: UserBatch, k: int) -> torch.Tensor:
        return mmr.act(users, [agent.act(users, (), 50)], k).items

    found = {
        name: variety(simulate(population, shown, DAYS, 0, keep_log=True), world, n)
        for name, shown in (
            ("random", at_random(world.n_items)),
            ("exploiting", acting(agent)),
            ("reranked", reranked),
        )
    }
    both = ~torch.stack(list(found.values())).isnan().any(0)
    assert int(both.sum()) > 100
    means = {name: float(values[both].mean()) for name, values in found.items()}
    assert means["exploiting"] < means["random"] - 0.2
    opened = paired_bootstrap(found["reranked"][both], found["exploiting"][both], seed=0)
    assert opened.low > 0.1


def by_count(n_items: int, seed: int) -> Recommender:
    """Items at random, in proportion to the square of how often they are in the histories."""
    generator = torch.Generator().manual_seed(seed)

    def recommend(users: UserBatch, k: int) -> torch.Tensor:
        counts = torch.bincount(users.items, minlength=n_items).double() + 1
        drawn = torch.multinomial(counts**2, len(users) * k, replacement=True, generator=generator)
        return drawn.view(len(users), k)

    return recommend


def test_recommending_what_was_taken_concentrates_what_will_be_taken(
    dataset: Dataset, population: Population
) -> None:
    n = population.world.n_items
    agent = Popularity(PopularityConfig())
    agent.fit(TrainingData.of(dataset), Budget())
    concentration, tail = {}, {}
    rare = population.world.items.popularity.argsort()[: n // 2]
    for name, shown in (
        ("random", at_random(n)),
        ("by count", by_count(n, 0)),
        ("popularity", acting(agent)),
    ):
        log = simulate(population, shown, DAYS, 0, keep_log=True).log
        assert log is not None
        taken = log.item[log.positive]
        concentration[name] = gini(taken[:, None], n)
        tail[name] = float(torch.isin(taken, rare).double().mean())
    assert concentration["random"] + 0.1 < concentration["by count"]
    assert concentration["by count"] < concentration["popularity"]
    assert tail["random"] > tail["by count"] + 0.1


def test_newcomers_are_served_worse_than_the_same_people_once_they_are_known(
    dataset: Dataset, world: World
) -> None:
    known = Population.drawn(world, 1_500, seed=0)
    cold = Population.newcomers(world, 1_500, seed=0)
    assert torch.equal(known.key, cold.key)
    assert int(cold.histories.lengths.sum()) == 0
    agent = exploiting(dataset)
    rewards = [simulate(who, acting(agent), 1, 0).signals["enjoyment"] for who in (known, cold)]
    assert paired_bootstrap(rewards[0], rewards[1], seed=0).low > 0
