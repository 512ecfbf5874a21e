from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.contract import AgentContract, small_log
from agenticrs.agents.retrieval.cold_item import ColdItem, ColdItemConfig, content_columns
from agenticrs.agents.retrieval.ials import Ials, IalsConfig
from agenticrs.agents.training_data import FeatureTensors, TrainingData
from agenticrs.platform.errors import AgentError

N_USERS, N_ITEMS, GENRES = 200, 60, 4


class TestContract(AgentContract):
    agent_type = ColdItem
    config: ClassVar[dict[str, Any]] = {"embedding_size": 4, "epochs": 3}


def log() -> TrainingData:
    """Users take items of one genre; the last ten items nobody has taken."""
    generator = torch.Generator().manual_seed(0)
    genre = torch.arange(N_ITEMS) % GENRES
    taste = torch.arange(N_USERS) % GENRES
    lists = []
    for user in range(N_USERS):
        liked = (genre[:50] == taste[user]).nonzero()[:, 0]
        lists.append(liked[torch.randperm(len(liked), generator=generator)[:6]])
    offsets = torch.arange(N_USERS + 1) * 6
    data = small_log()
    return replace(
        data,
        n_users=N_USERS,
        n_items=N_ITEMS,
        histories=UserBatch(torch.arange(N_USERS), offsets, torch.cat(lists)),
        item_features=FeatureTensors(
            codes=torch.zeros(N_ITEMS, 0).long(),
            cardinality=(),
            tags=torch.nn.functional.one_hot(genre, GENRES).float(),
            numeric=torch.zeros(N_ITEMS, 0),
        ),
    )


def right_new_items(agent: Ials, data: TrainingData) -> float:
    """How often the best of the new items is of the user's genre."""
    scores = agent.score(data.histories)[:, 50:]
    genre = (torch.arange(50, N_ITEMS) % GENRES)[scores.argmax(1)]
    return float((genre == torch.arange(N_USERS) % GENRES).float().mean())


def test_new_items_are_found_by_what_is_said_of_them() -> None:
    data = log()
    agent = ColdItem(ColdItemConfig(embedding_size=8, epochs=5, ridge=0.1))
    agent.fit(data, Budget())
    blind = Ials(IalsConfig(embedding_size=8, epochs=5))
    blind.fit(data, Budget())
    assert right_new_items(agent, data) > 0.95
    assert right_new_items(blind, data) < 0.5


def test_items_with_many_takers_stay_where_users_put_them() -> None:
    data = log()
    trusted = ColdItem(ColdItemConfig(embedding_size=8, epochs=5, trust=1e-6))
    trusted.fit(data, Budget())
    plain = Ials(IalsConfig(embedding_size=8, epochs=5))
    plain.fit(data, Budget())
    torch.testing.assert_close(trusted.items[:50], plain.items[:50], rtol=1e-4, atol=1e-5)


def test_items_of_which_nothing_is_said_are_an_error() -> None:
    nothing = FeatureTensors(torch.zeros(30, 0).long(), (), torch.zeros(30, 0), torch.zeros(30, 0))
    assert content_columns(nothing).shape == (30, 0)
    with pytest.raises(AgentError, match="nothing is said"):
        ColdItem(ColdItemConfig()).fit(replace(small_log(), item_features=nothing), Budget())


def test_too_many_categories_are_left_out_and_unknown_says_nothing() -> None:
    features = FeatureTensors(
        codes=torch.tensor([[0, 7], [2, 9_000]]),
        cardinality=(3, 10_000),
        tags=torch.zeros(2, 0),
        numeric=torch.tensor([[0.5], [-0.5]]),
    )
    assert content_columns(features).tolist() == [[0.5, 0, 0, 1], [-0.5, 0, 1, 1]]


def test_words_of_titles_place_items_of_which_nothing_else_is_said() -> None:
    data = log()
    genre, number = torch.arange(N_ITEMS) % GENRES, 100 + torch.arange(N_ITEMS)
    only = replace(
        data.item_features,
        tags=torch.zeros(N_ITEMS, 0),
        words=torch.stack([genre, number, torch.full_like(genre, -1)], 1),
    )
    titled = replace(data, item_features=only)
    agent = ColdItem(ColdItemConfig(embedding_size=8, epochs=5, ridge=0.1))
    agent.fit(titled, Budget())
    assert right_new_items(agent, titled) > 0.95
    with pytest.raises(AgentError, match="nothing is said"):
        ColdItem(ColdItemConfig(words=0)).fit(titled, Budget())


def test_words_share_columns_and_a_title_has_unit_length() -> None:
    nothing = FeatureTensors(torch.zeros(3, 0).long(), (), torch.zeros(3, 0), torch.zeros(3, 0))
    titled = replace(nothing, words=torch.tensor([[0, 5], [4, -1], [-1, -1]]))
    half = 2**-0.5
    found = content_columns(titled, 4)
    assert found[1:].tolist() == [[1, 0, 0, 0, 1], [0, 0, 0, 0, 1]]
    assert found[0].tolist() == pytest.approx([half, half, 0, 0, 1])
