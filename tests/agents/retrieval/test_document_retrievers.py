"""What documents learn with: losses against their definitions, the graph against a dense one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from agenticrs.agents.agent import Budget
from agenticrs.agents.grammar.losses import Draws, as_cosines, catalogue_loss
from agenticrs.agents.grammar.retriever import normalised_graph
from agenticrs.agents.grammar.training import CatalogueLoss, Sampler
from agenticrs.agents.retrieval.lightgcn import LightGcn, LightGcnConfig
from agenticrs.agents.retrieval.two_tower import TwoTower, TwoTowerConfig
from agenticrs.agents.title_words import title_words
from agenticrs.agents.training_data import TrainingData

MakeData = Callable[..., TrainingData]
QUERY = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
TABLE = torch.randn(20, 4, generator=torch.Generator().manual_seed(2))
TARGET = torch.tensor([0, 3, 3, 7, 19, 11])
LOW = 1e-2
"""Where products in bfloat16 are fast, logits have two digits; their own tests are exact."""


def loss_of(
    kind: CatalogueLoss, negatives: int = 8, calibration: float = 0.5, seed: int = 3
) -> float:
    generator = torch.Generator().manual_seed(seed)
    draws = Draws(Sampler(draw="uniform"), negatives, torch.ones(20), generator)
    return float(catalogue_loss(kind, QUERY, TABLE, TARGET, draws=draws, calibration=calibration))


def drawn(negatives: int, seed: int = 3) -> torch.Tensor:
    return torch.randint(20, (negatives,), generator=torch.Generator().manual_seed(seed))


def test_the_softmax_is_the_cross_entropy_over_the_catalogue() -> None:
    wanted = functional.cross_entropy(QUERY @ TABLE.T, TARGET)
    assert loss_of("softmax") == pytest.approx(float(wanted), rel=2 * LOW)


def test_the_sampled_softmax_comes_close_to_the_whole_one_on_average() -> None:
    whole = float(functional.cross_entropy(QUERY @ TABLE.T, TARGET))
    several = [loss_of("sampled", negatives=400, seed=seed) for seed in range(20)]
    # The target stands once beside 19 / 20 of the draws, so the sum misses at most a little.
    assert sum(several) / 20 == pytest.approx(whole, rel=0.03)


def test_binary_and_pairwise_losses_follow_their_definitions() -> None:
    items = drawn(8)
    bce = bpr = gbce = 0.0
    rate = 8 / 19
    power = rate * (0.5 * (1 - 1 / rate) + 1 / rate)
    for query, target in zip(QUERY, TARGET.tolist(), strict=True):
        right = float(query @ TABLE[target])
        wrong = [float(query @ TABLE[i]) for i in items.tolist() if i != target]
        bce += -math.log(_sigmoid(right)) - sum(math.log(_sigmoid(-w)) for w in wrong) / 8
        gbce += -power * math.log(_sigmoid(right)) - sum(math.log(_sigmoid(-w)) for w in wrong)
        bpr += -sum(math.log(_sigmoid(right - w)) for w in wrong) / 8
    assert loss_of("bce") == pytest.approx(bce / 6, rel=LOW)
    assert loss_of("bpr") == pytest.approx(bpr / 6, rel=LOW)
    assert loss_of("gbce") == pytest.approx(gbce / 6, rel=LOW)


def test_no_calibration_is_binary_cross_entropy_and_full_calibration_weighs_by_the_rate() -> None:
    # With t = 0 the power is 1; with t = 1 it is the sampling rate (Petrov & Macdonald, eq. 8).
    plain, full = loss_of("gbce", calibration=0.0), loss_of("gbce", calibration=1.0)
    positives = float(functional.softplus(-(QUERY * TABLE[TARGET]).sum(1)).mean())
    assert plain - full == pytest.approx((1 - 8 / 19) * positives, rel=1e-4)


def test_cosines_do_not_see_how_long_vectors_are() -> None:
    query, table = as_cosines(QUERY, TABLE, 0.2)
    longer, other = as_cosines(3 * QUERY, TABLE * torch.rand(20, 1).add(0.5), 0.2)
    torch.testing.assert_close(query @ table.T, longer @ other.T)
    wanted = functional.cosine_similarity(QUERY[2], TABLE[5], dim=0) / 0.2
    torch.testing.assert_close((query @ table.T)[2, 5], wanted)


def test_the_graph_is_normalised_by_both_degrees(make_data: MakeData) -> None:
    data = make_data([[0, 1, 1], [1, 2], []], 4)
    seen = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=torch.float32)
    both = torch.zeros(7, 7)
    both[:3, 3:], both[3:, :3] = seen, seen.T
    degree = both.sum(1).clamp(min=1)
    wanted = both / degree[:, None].sqrt() / degree.sqrt()
    torch.testing.assert_close(normalised_graph(data.histories, data.n_items).to_dense(), wanted)


@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_smoothing_brings_users_of_one_circle_together(
    make_data: MakeData, temperature: float
) -> None:
    circles = [[0, 1, 2, 3], [1, 2, 3, 4], [0, 2, 4]] * 4 + [[5, 6, 7, 8], [6, 7, 9], [5, 9]] * 4
    data = make_data(circles, 10)
    config = LightGcnConfig(
        embedding_size=8, epochs=60, batch_size=32, negatives=10, temperature=temperature
    )
    agent = LightGcn(config, seed=1)
    agent.fit(data, Budget())
    best = agent.act(data.histories, [], 1).items[:, 0]
    inside = torch.tensor([user < 12 for user in range(24)])
    assert ((best < 5) == inside).float().mean() > 0.8


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_lists_rank_by_cosines_times_a_power_of_the_length(
    make_data: MakeData, power: float
) -> None:
    data = make_data([[0, 1, 2], [1, 2, 3, 4], [0, 2, 4]] * 3, 6)
    sizes: dict[str, Any] = {"embedding_size": 4, "epochs": 3, "batch_size": 8, "negatives": 4}
    agent = LightGcn(LightGcnConfig(**sizes, temperature=0.1, length_power=power), seed=1)
    agent.fit(data, Budget())
    users, items = (agent.tables[f"graph.{side}"] for side in ("users", "items"))
    cosines = functional.normalize(users, dim=1) @ functional.normalize(items, dim=1).T
    order = (cosines * items.norm(dim=1) ** power).argsort(1, descending=True)
    torch.testing.assert_close(agent.score(data.histories).argsort(1, descending=True), order)


def test_without_a_temperature_lengths_are_learnt_and_count_in_full(make_data: MakeData) -> None:
    data = make_data([[0, 1, 2], [1, 2, 3, 4], [0, 2, 4]] * 3, 6)
    sizes: dict[str, Any] = {"embedding_size": 4, "epochs": 3, "batch_size": 8, "negatives": 4}
    sizes["temperature"] = 0.0
    whole, none = (LightGcn(LightGcnConfig(**sizes, length_power=p), seed=1) for p in (1.0, 0.0))
    for agent in (whole, none):
        agent.fit(data, Budget())
    torch.testing.assert_close(whole.score(data.histories), none.score(data.histories))


def test_content_places_items_that_nobody_has_seen(make_data: MakeData) -> None:
    # Even items share one tag, odd ones the other; 18 and 19 are new.
    tags = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 10)
    even = [[start, start + 2, start + 4, start + 6, start + 8] for start in (0, 2, 4, 6, 8)]
    odd = [[item + 1 for item in history] for history in even]
    data = make_data((even + odd) * 8, 20)
    data = replace(data, item_features=replace(data.item_features, tags=tags))
    config = TwoTowerConfig(
        embedding_size=8, hidden=16, ids=False, epochs=30, batch_size=64, negatives=20
    )
    agent = TwoTower(config, seed=0)
    agent.fit(data, Budget())
    scores = agent.score(data.histories)
    assert (scores[0, 18] > scores[0, 19]).item()
    assert (scores[5, 19] > scores[5, 18]).item()


def test_titles_place_items_of_which_nothing_else_is_said(make_data: MakeData) -> None:
    ids = np.arange(20).astype(np.str_)
    titles = np.array([f"{('Sharks', 'Opera')[item % 2]} {item}" for item in range(20)])
    even = [[start, start + 2, start + 4, start + 6, start + 8] for start in (0, 2, 4, 6, 8)]
    odd = [[item + 1 for item in history] for history in even]
    words = title_words(titles, ids)
    assert words is not None
    data = make_data((even + odd) * 8, 20)
    data = replace(data, item_features=replace(data.item_features, words=torch.from_numpy(words)))
    config = TwoTowerConfig(
        embedding_size=8, hidden=16, ids=False, epochs=30, batch_size=64, negatives=20
    )
    agent = TwoTower(config, seed=0)
    agent.fit(data, Budget())
    scores = agent.score(data.histories)
    assert (scores[0, 18] > scores[0, 19]).item()
    assert (scores[5, 19] > scores[5, 18]).item()
    unread = TwoTower(config.model_copy(update={"words": 0}), seed=0)
    unread.fit(data, Budget())
    apart = unread.score(data.histories)[:, 18:].diff()
    assert float(apart.max() - apart.min()) < 1e-4, "nobody has a reason to prefer one"


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
