from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.rewards.beyond_accuracy import coverage, gini, intra_list_diversity, jain, novelty


def test_coverage_counts_shown_items_once() -> None:
    assert coverage(torch.tensor([[0, 1], [1, -1]]), 4) == 0.5


def test_gini_is_zero_for_equal_exposure_and_near_one_for_a_monopoly() -> None:
    assert gini(torch.arange(10).view(5, 2), 10) == pytest.approx(0.0)
    assert gini(torch.full((50, 1), 3), 10) == pytest.approx(0.9)
    assert gini(torch.full((3, 2), -1), 10) == 0.0


@given(st.lists(st.integers(0, 7), min_size=1, max_size=40))
def test_gini_is_half_the_relative_mean_difference(shown: list[int]) -> None:
    exposure = np.bincount(shown, minlength=8).astype(float)
    pairs = np.abs(exposure[:, None] - exposure[None, :]).mean()
    assert gini(torch.tensor([shown]), 8) == pytest.approx(pairs / (2 * exposure.mean()))


def test_jain_is_one_for_equal_exposure_and_the_share_of_those_shown_otherwise() -> None:
    assert jain(torch.arange(10).view(5, 2), 10) == pytest.approx(1.0)
    assert jain(torch.full((50, 1), 3), 10) == pytest.approx(0.1)
    assert jain(torch.tensor([[0, 1], [2, 3]]), 10) == pytest.approx(0.4)
    assert jain(torch.tensor([[0, 1], [0, -1]]), 4) == pytest.approx(9 / (4 * 5))
    assert jain(torch.full((3, 2), -1), 10) == 0.0


def test_novelty_is_the_mean_information_of_the_list_in_bits() -> None:
    # Shares after one is added to each: 1/2, 1/4, 1/8, 1/8.
    got = novelty(torch.tensor([[0, 1], [2, -1], [-1, -1]]), torch.tensor([3, 1, 0, 0]))
    assert got.tolist() == pytest.approx([(1 + 2) / 2, 3, 0])


def test_diversity_of_orthogonal_items_is_one_and_of_the_same_topic_zero() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
    ranked = torch.tensor([[0, 1], [0, 2], [0, -1], [0, 3]])
    assert intra_list_diversity(ranked, vectors).tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0])


@given(st.integers(0, 10_000))
def test_diversity_is_the_mean_over_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.random((12, 5)) * (rng.random((12, 5)) < 0.5)
    vectors[:, 0] += 0.1
    row = rng.permutation(12)[: rng.integers(2, 9)]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [1 - unit[a] @ unit[b] for place, a in enumerate(row) for b in row[place + 1 :]]
    got = intra_list_diversity(torch.tensor(row)[None], torch.tensor(vectors))
    assert float(got[0]) == pytest.approx(np.mean(pairs), abs=1e-9)
