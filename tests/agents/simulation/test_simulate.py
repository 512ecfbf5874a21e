"""Days with a recommender: what is shown, what grows, what stays the same."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.popularity import Popularity, PopularityConfig
from agenticrs.agents.runtime import Runtime
from agenticrs.agents.simulation.histories import GrowingHistories
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.simulate import (
    Change,
    Recommender,
    Rules,
    acting,
    serving,
    simulate,
)
from agenticrs.agents.simulation.world import World
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.errors import AgentError
from agenticrs.registry.graph import Graph, Node


def by_user(n_items: int) -> Recommender:
    """Pages that hang on the user and on how long the history is, and on nothing else."""

    def recommend(users: UserBatch, k: int) -> torch.Tensor:
        start = users.users * 31 + users.lengths * 7
        return (start[:, None] + 13 * torch.arange(k)) % n_items

    return recommend


def test_the_same_seed_gives_the_same_days_however_users_are_batched(
    population: Population,
) -> None:
    recommender = by_user(population.world.n_items)
    runs = [
        simulate(population, recommender, 4, seed, rules=Rules(users_at_once=at_once))
        for seed, at_once in ((0, 10_000), (0, 37), (1, 10_000))
    ]
    for name, values in runs[0].signals.items():
        # Products of matrices of other sizes differ in the last bits, which may turn a decision.
        assert (values - runs[1].signals[name]).abs().gt(1e-3).double().mean() < 0.01, name
    again = simulate(population, recommender, 4, 0)
    assert all(torch.equal(runs[0].signals[name], again.signals[name]) for name in again.signals)
    assert not torch.equal(runs[0].signals["enjoyment"], runs[2].signals["enjoyment"])


def test_users_one_by_one_in_plain_python_decide_the_same(
    population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    loop: Any = importlib.import_module("simulation_loop")
    world, n = population.world, 60
    few = Population.of(world, torch.arange(n))
    pages = torch.randint(world.n_items, (n, 5, 4), generator=torch.Generator().manual_seed(0))
    number = torch.zeros(n, dtype=torch.int64)

    def shown(users: UserBatch, k: int) -> torch.Tensor:
        page = pages[users.users, number[users.users]]
        number[users.users] += 1
        return page

    outcome = simulate(few, shown, 1, seed=5, keep_log=True)
    users = loop.LoopedUsers(few)
    read = [loop.browse(users, row, pages[row], 0, 5) for row in range(n)]
    same = torch.tensor(read) == outcome.signals["pages"]
    assert same.double().mean() > 0.97
    assert len(set(read)) > 1


def test_what_users_take_is_in_their_history_at_the_next_page(population: Population) -> None:
    seen: dict[int, list[int]] = {}

    def watch(users: UserBatch, k: int) -> torch.Tensor:
        for row, user in enumerate(users.users.tolist()):
            begin, end = users.offsets[row : row + 2].tolist()
            history = users.items[begin:end].tolist()
            assert history[: len(seen.get(user, []))] == seen.get(user, [])
            seen[user] = history
        assert users.times is not None
        for row in range(len(users)):
            begin, end = users.offsets[row : row + 2].tolist()
            assert bool((users.times[begin:end].diff() >= 0).all())
        return by_user(population.world.n_items)(users, k)

    outcome = simulate(population, watch, 3, 0, keep_log=True)
    assert outcome.log is not None
    taken = outcome.log.by_user()
    before = population.histories.lengths
    grown = sum(len(seen[user]) - int(before[user]) for user in seen)
    # What was taken on a user's last page is asked for by nobody any more.
    assert 0 < grown <= int(taken.positive.sum())
    assert float(outcome.signals["taken"].sum()) == int(taken.positive.sum())
    assert float(outcome.signals["events"].sum()) == len(taken)


def test_growing_histories_are_the_old_ones_and_then_what_was_added() -> None:
    begin = UserBatch(torch.tensor([4, -1, 9]), torch.tensor([0, 2, 2, 3]), torch.tensor([7, 8, 1]))
    histories = GrowingHistories(begin)
    items = torch.tensor([[1, 2], [3, 4]])
    histories.add(torch.tensor([2, 1]), items, torch.tensor([[True, True], [False, True]]), 0)
    for _ in range(5):
        histories.add(torch.tensor([0]), torch.tensor([[5]]), torch.tensor([[True]]), 1)
    batch = histories.batch(torch.tensor([2, 0, 1]))
    assert batch.users.tolist() == [9, 4, -1]
    assert batch.offsets.tolist() == [0, 3, 10, 11]
    assert batch.items.tolist() == [1, 1, 2, 7, 8, 5, 5, 5, 5, 5, 4]


def test_a_composition_in_its_runtime_is_a_recommender(
    dataset: Dataset, population: Population
) -> None:
    data = TrainingData.of(dataset)
    agent = Popularity(PopularityConfig())
    agent.fit(data, budget())
    node = Node(id="popularity", agent="popularity", version=1, inputs=("users",))
    runtime = Runtime(
        Graph(nodes=(node,), output="popularity"),
        {"popularity": agent},
        {"popularity": Popularity.spec},
        data.histories,
        agent.popularity,
        agent_timeout=None,
    )
    served = simulate(population, serving(runtime), 2, 0)
    alone = simulate(population, acting(agent), 2, 0)
    assert torch.equal(served.signals["watch_time"], alone.signals["watch_time"])
    assert served.mean("watch_time") > 0


def budget() -> Any:
    from agenticrs.agents.agent import Budget

    return Budget()


def test_recommenders_that_put_out_nonsense_are_refused(population: Population) -> None:
    def narrow(users: UserBatch, k: int) -> torch.Tensor:
        return torch.zeros(len(users), k - 1, dtype=torch.int64)

    def outside(users: UserBatch, k: int) -> torch.Tensor:
        return torch.full((len(users), k), population.world.n_items)

    with pytest.raises(AgentError, match="asked for 4 items"):
        simulate(population, narrow, 1, 0)
    with pytest.raises(AgentError, match="outside the catalogue"):
        simulate(population, outside, 1, 0)
    with pytest.raises(AgentError, match="days must be"):
        simulate(population, outside, 0, 0)
    with pytest.raises(AgentError, match="page_size must be"):
        Rules(page_size=0)
    with pytest.raises(AgentError, match="the world has users 0 to"):
        Population.of(population.world, torch.tensor([10_000]))


def test_items_are_not_shown_before_their_day(population: Population) -> None:
    n = population.world.n_items
    released = torch.arange(n) % 3
    outcome = simulate(
        population, by_user(n), 3, 0, change=Change(released=released), keep_log=True
    )
    assert outcome.log is not None
    assert bool((released[outcome.log.item] <= outcome.log.day).all())
    assert set(released[outcome.log.item].tolist()) == {0, 1, 2}


def test_a_drift_of_tastes_changes_the_days_after_it_and_not_the_population(
    population: Population,
) -> None:
    recommender, before = by_user(population.world.n_items), population.persona.taste.clone()
    still = simulate(population, recommender, 4, 0, keep_log=True)
    change = Change(shift_day=2, shift_share=1.0)
    shifted = simulate(population, recommender, 4, 0, change=change, keep_log=True)
    pulled = simulate(population, recommender, 4, 0, change=Change(follow=0.3))
    assert torch.equal(population.persona.taste, before)
    assert still.log is not None
    assert shifted.log is not None
    logs = [log.satisfaction[log.day < 2] for log in (still.log, shifted.log)]
    assert torch.equal(*logs)
    assert not torch.equal(still.signals["enjoyment"], shifted.signals["enjoyment"])
    assert not torch.equal(still.signals["enjoyment"], pulled.signals["enjoyment"])


def test_empty_places_are_not_seen_and_nobody_stays_beyond_the_last_page(
    population: Population,
) -> None:
    def empty(users: UserBatch, k: int) -> torch.Tensor:
        return torch.full((len(users), k), -1)

    outcome = simulate(population, empty, 1, 0, rules=Rules(page_size=2, most_pages=3))
    assert outcome.signals["seen"].sum() == 0
    assert outcome.signals["pages"].max() == 3


def test_copies_of_a_user_have_luck_of_their_own(world: World) -> None:
    drawn = Population.drawn(world, 2_000, seed=3)
    assert len(torch.unique(drawn.key)) == 2_000
    assert not torch.equal(drawn.key, Population.drawn(world, 2_000, seed=4).key)
    assert float(drawn.attention().std()) > 0
    user = replace(drawn, persona=drawn.persona.take(torch.zeros(2_000, dtype=torch.int64)))
    outcome = simulate(user, lambda users, k: torch.arange(k).repeat(len(users), 1), 1, 0)
    assert float(outcome.signals["watch_time"].std()) > 0
