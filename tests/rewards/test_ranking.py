from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.rewards.ranking import order_auc, ranking_metrics, relevance

Lists = list[list[int]]


def csr(truth: Lists) -> tuple[torch.Tensor, torch.Tensor]:
    offsets = torch.zeros(len(truth) + 1, dtype=torch.int64)
    offsets[1:] = torch.tensor([len(items) for items in truth]).cumsum(0)
    return offsets, torch.tensor([item for items in truth for item in items], dtype=torch.int64)


def padded(lists: Lists) -> torch.Tensor:
    width = max((len(items) for items in lists), default=0)
    return torch.tensor([items + [-1] * (width - len(items)) for items in lists]).view(
        len(lists), width
    )


def metrics(ranked: Lists, truth: Lists, ks: tuple[int, ...]) -> dict[str, list[float]]:
    return {k: v.tolist() for k, v in ranking_metrics(padded(ranked), *csr(truth), ks).items()}


def test_the_values_are_those_computed_by_hand() -> None:
    got = metrics([[7, 3, 9, 1]], [[3, 1, 8]], (3, 4, 10))
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert got["recall@3"] == [pytest.approx(1 / 3)]
    assert got["precision@4"] == [0.5]
    assert got["precision@10"] == [0.2]
    assert got["mrr@10"] == [0.5]
    assert got["hit@3"] == [1.0]
    assert got["ndcg@3"] == [pytest.approx(1 / math.log2(3) / ideal)]
    assert got["ndcg@4"] == [pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)]
    assert got["map@4"] == [pytest.approx((1 / 2 + 2 / 4) / 3)]


def test_the_ideal_list_is_no_longer_than_the_cut() -> None:
    assert metrics([[1, 2]], [[1, 2, 3, 4]], (2,))["ndcg@2"] == [1.0]


def test_a_miss_an_empty_list_and_a_user_without_truth_are_zero() -> None:
    got = metrics([[1, 2], [], [4, 5]], [[3], [4], []], (1, 2))
    assert all(value == [0.0, 0.0, 0.0] for value in got.values())


def test_another_users_item_is_no_hit() -> None:
    hit = relevance(padded([[1, 2], [1, 2]]), *csr([[1], [2]]))
    assert hit.tolist() == [[True, False], [False, True]]


def test_pads_in_the_middle_keep_the_ranks_of_what_follows() -> None:
    assert metrics([[5, -1, 3]], [[3]], (3,))["mrr@3"] == [pytest.approx(1 / 3)]


def test_no_users_give_empty_vectors() -> None:
    got = ranking_metrics(torch.zeros(0, 5, dtype=torch.int64), *csr([]), (5,))
    assert got["ndcg@5"].shape == (0,)


def test_a_cut_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        metrics([[1]], [[1]], (0,))


items = st.lists(st.integers(0, 30), max_size=12, unique=True)


@given(st.lists(st.tuples(items, items), min_size=1, max_size=6))
def test_metrics_stay_in_bounds_and_only_recall_and_hit_must_grow_with_k(
    users: list[tuple[list[int], list[int]]],
) -> None:
    got = metrics([u[0] for u in users], [u[1] for u in users], (2, 8))
    for values in got.values():
        assert all(0.0 <= value <= 1.0 + 1e-12 for value in values)
    for name in ("recall", "hit", "mrr", "map"):
        for small, large in zip(got[f"{name}@2"], got[f"{name}@8"], strict=True):
            assert small <= large + 1e-12


@given(items.filter(bool), st.integers(1, 15))
def test_a_list_that_begins_with_the_truth_is_perfect(truth: list[int], k: int) -> None:
    others = [item for item in range(31, 50)]
    got = metrics([truth + others], [truth], (k,))
    assert got[f"ndcg@{k}"] == [pytest.approx(1.0)]
    assert got[f"mrr@{k}"] == [1.0]


@given(items.filter(lambda v: len(v) > 1), items.filter(bool), st.data())
def test_moving_a_hit_up_never_lowers_a_metric(
    ranked: list[int], truth: list[int], data: st.DataObject
) -> None:
    place = data.draw(st.integers(1, len(ranked) - 1))
    if ranked[place] not in truth or ranked[place - 1] in truth:
        return
    better = list(ranked)
    better[place - 1], better[place] = ranked[place], ranked[place - 1]
    before, after = metrics([ranked], [truth], (5,)), metrics([better], [truth], (5,))
    for name, value in before.items():
        assert after[name][0] >= value[0] - 1e-12


@given(st.lists(st.tuples(items, items), min_size=1, max_size=6), st.integers(1, 14))
def test_auc_is_the_share_of_pairs_in_order(
    users: list[tuple[list[int], list[int]]], k: int
) -> None:
    ranked, truth = [u[0] for u in users], [u[1] for u in users]
    for found, row, held in zip(
        order_auc(padded(ranked), *csr(truth), k).tolist(), ranked, truth, strict=True
    ):
        hits = [place for place, item in enumerate(row[:k]) if item in held]
        misses = [place for place, item in enumerate(row[:k]) if item not in held]
        won = [hit < miss for hit in hits for miss in misses]
        assert found == pytest.approx(sum(won) / len(won) if won else 0.5)


@pytest.mark.slow  # ranx compiles its metrics with numba: about 20 s
@pytest.mark.filterwarnings("ignore")  # numba's own
def test_every_metric_agrees_with_ranx() -> None:
    from ranx import Qrels, Run, evaluate

    rng = np.random.default_rng(4)
    ranked = [rng.permutation(60)[: rng.integers(1, 41)].tolist() for _ in range(80)]
    truth = [rng.permutation(60)[: rng.integers(1, 25)].tolist() for _ in range(80)]
    qrels = Qrels({f"u{u:02}": {str(i): 1 for i in row} for u, row in enumerate(truth)})
    run = Run(
        {
            f"u{u:02}": {str(i): 1.0 / (rank + 1) for rank, i in enumerate(row)}
            for u, row in enumerate(ranked)
        }
    )
    ours = metrics(ranked, truth, (5, 10, 50))
    names = {"hit": "hit_rate"}
    for metric in ("recall", "precision", "hit", "mrr", "ndcg", "map"):
        for k in (5, 10, 50):
            theirs = evaluate(qrels, run, f"{names.get(metric, metric)}@{k}", return_mean=False)
            np.testing.assert_allclose(ours[f"{metric}@{k}"], theirs, atol=1e-9, err_msg=metric)
