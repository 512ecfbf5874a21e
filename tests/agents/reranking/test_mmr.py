from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.contract import AgentContract
from agenticrs.agents.reranking import greedy
from agenticrs.agents.reranking.mmr import Mmr, MmrConfig


class TestContract(AgentContract):
    agent_type = Mmr


class TestContractShallow(AgentContract):
    agent_type = Mmr
    config: ClassVar = {"depth": 3, "trade_off": 0.4}


def reranked(
    items: torch.Tensor, scores: torch.Tensor, vectors: torch.Tensor, k: int, **config: float
) -> Candidates:
    agent = Mmr(MmrConfig.model_validate(config))
    agent.load({"vectors": vectors}, n_users=1, n_items=len(vectors))
    users = UserBatch(
        torch.arange(len(items)), torch.zeros(len(items) + 1).long(), torch.zeros(0).long()
    )
    return agent.act(users, [Candidates(items, scores)], k)


def by_the_paper(
    items: list[int], scores: list[float], vectors: torch.Tensor, k: int, t: float
) -> list[int]:
    low, high = min(scores), max(scores)
    relevance = {
        i: (s - low) / (high - low) if high > low else 1.0
        for i, s in zip(items, scores, strict=True)
    }
    picked: list[int] = []
    while len(picked) < min(k, len(items)):

        def value(i: int) -> float:
            closest = max((float(vectors[i] @ vectors[j]) for j in picked), default=0.0)
            return t * relevance[i] - (1 - t) * max(0.0, closest)

        picked.append(max((i for i in items if i not in picked), key=value))
    return picked


@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_the_order_is_that_of_the_definition(seed: int, t: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.nn.functional.normalize(torch.rand(12, 4, generator=generator), dim=1)
    items = torch.stack([torch.randperm(12, generator=generator)[:7] for _ in range(3)])
    scores = torch.rand(3, 7, generator=generator).sort(dim=1, descending=True).values
    got = reranked(items, scores, vectors, 5, trade_off=t)
    for row in range(3):
        expected = by_the_paper(items[row].tolist(), scores[row].tolist(), vectors, 5, t)
        assert got.items[row].tolist() == expected


ITEMS = torch.tensor([[0, 1, 2, 3]])
SCORES = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
TOPICS = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0], [0, 1.0]])


def test_trade_off_one_keeps_the_order_by_relevance() -> None:
    assert reranked(ITEMS, SCORES, TOPICS, 4, trade_off=1.0).items.tolist() == [[0, 1, 2, 3]]


def test_another_topic_comes_second_when_variety_counts() -> None:
    assert reranked(ITEMS, SCORES, TOPICS, 4, trade_off=0.4).items[0, :2].tolist() == [0, 2]


def test_what_lies_below_the_depth_follows_in_its_order() -> None:
    got = reranked(ITEMS, SCORES, TOPICS, 4, trade_off=0.0, depth=2)
    assert got.items.tolist() == [[0, 1, 2, 3]]
    assert (got.scores[:, :-1] > got.scores[:, 1:]).all()


def test_users_in_blocks_get_the_same_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    items, scores = ITEMS.repeat(9, 1), torch.rand(9, 4).sort(dim=1, descending=True).values
    whole = reranked(items, scores, TOPICS, 3, trade_off=0.5)
    monkeypatch.setattr(greedy, "_CELLS_AT_ONCE", 20)
    assert torch.equal(reranked(items, scores, TOPICS, 3, trade_off=0.5).items, whole.items)
