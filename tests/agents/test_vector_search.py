"""Exact search finds what sorting everything finds, whatever the sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.agents import top_k as top_k_module
from agenticrs.agents import vector_search
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.top_k import top_k, top_k_of_pairs


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    batch=st.integers(1, 4),
    n=st.integers(1, 3000),
    k=st.integers(1, 40),
    few=st.sampled_from([0, top_k_module._FEW]),
)
def test_the_largest_of_a_row_are_those_of_sorting(
    seed: int, batch: int, n: int, k: int, few: int
) -> None:
    scores = torch.randn(batch, n, generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_k_module, "_FEW", few)
        values, places = top_k(scores, k)
    assert torch.equal(values, scores.sort(dim=1, descending=True).values[:, :k])
    assert torch.equal(scores.gather(1, places), values)


def test_rows_of_minus_infinity_are_no_trouble() -> None:
    scores = torch.full((4, 5000), -torch.inf)  # enough for groups
    scores[0, 4999] = 1.0
    values, places = top_k(scores, 3)
    assert (float(values[0, 0]), int(places[0, 0])) == (1.0, 4999)
    assert torch.isneginf(values[1]).all()
    assert len(set(places[1].tolist())) == 3


def test_pairs_are_put_in_order_row_by_row() -> None:
    rows, columns = torch.tensor([2, 0, 2, 2, 0]), torch.tensor([0, 1, 1, 3, 3])
    values, found = top_k_of_pairs(
        rows, columns, torch.tensor([0.1, 0.5, 0.9, 0.4, 0.7]), 4, 2, empty=-1.0
    )
    assert found.tolist() == [[3, 1], [0, 0], [1, 3], [0, 0]]
    torch.testing.assert_close(
        values, torch.tensor([[0.7, 0.5], [-1.0, -1.0], [0.9, 0.4], [-1.0, -1.0]])
    )


@pytest.mark.parametrize("at_once", [50, 333, 2000, 10**9])
@pytest.mark.parametrize("with_bias", [False, True])
def test_blocks_find_what_one_product_finds(
    monkeypatch: pytest.MonkeyPatch, at_once: int, with_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(5, 8, generator=generator)
    table = torch.randn(700, 8, generator=generator)
    bias = torch.randn(700, generator=generator) if with_bias else None
    lengths = torch.tensor([0, 3, 0, 650, 1])
    items = torch.cat([torch.randperm(700, generator=generator)[:n] for n in lengths.tolist()])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    users = UserBatch(torch.arange(5), offsets, items)
    monkeypatch.setattr(vector_search, "_CELLS_AT_ONCE", at_once)
    found = vector_search.search(queries, table, 60, users, bias)
    scores = queries @ table.T + (0 if bias is None else bias)
    scores[users.rows, users.items] = -torch.inf
    wanted = scores.topk(60, dim=1)
    torch.testing.assert_close(found.scores, wanted.values)
    shown = wanted.values > -torch.inf
    assert torch.equal(found.items, wanted.indices.masked_fill(~shown, -1))
    assert int((found.items[3] >= 0).sum()) == 50
