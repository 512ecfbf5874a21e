from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from agenticrs.rewards import significance
from agenticrs.rewards.significance import Interval, bootstrap_mean, holm, paired_bootstrap


def normal(mean: float, n: int, seed: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(mean, 1.0, n))


def test_interval_and_p_value_agree_with_the_t_test_on_normal_data() -> None:
    values = normal(0.1, 400, seed=1)
    got = bootstrap_mean(values, samples=20_000, seed=0)
    theirs = stats.ttest_1samp(values.numpy(), 0.0)
    low, high = theirs.confidence_interval()
    assert got.mean == pytest.approx(float(values.mean()))
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.005)
    assert got.p_value == pytest.approx(theirs.pvalue, abs=0.01)


def test_the_interval_agrees_with_scipys_percentile_bootstrap() -> None:
    values = torch.tensor(np.random.default_rng(2).exponential(size=60))
    theirs = stats.bootstrap(
        (values.numpy(),), np.mean, n_resamples=20_000, method="percentile", rng=7
    ).confidence_interval
    got = bootstrap_mean(values, samples=20_000, seed=3)
    assert (got.low, got.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_pairing_finds_a_small_gain_that_hides_in_the_spread_of_users() -> None:
    champion = 5 * normal(0.0, 500, seed=3)
    candidate = champion + 0.05 + 0.1 * normal(0.0, 500, seed=4)
    assert paired_bootstrap(candidate, champion, seed=0).p_value < 0.001
    shuffled = champion[torch.randperm(500, generator=torch.Generator().manual_seed(1))]
    assert paired_bootstrap(candidate, shuffled, seed=0).p_value > 0.05


def test_equal_systems_are_never_different() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    assert paired_bootstrap(values, values.clone(), seed=0) == Interval(0.0, 0.0, 0.0, 1.0)


def test_the_null_is_rejected_about_as_often_as_promised() -> None:
    p_values = [
        bootstrap_mean(normal(0.0, 80, seed), samples=400, seed=seed).p_value for seed in range(300)
    ]
    assert 0.02 < float(np.mean(np.array(p_values) < 0.05)) < 0.09


def test_the_same_seed_gives_the_same_answer_whatever_the_block_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = normal(0.2, 70, seed=5)
    whole = bootstrap_mean(values, seed=9)
    monkeypatch.setattr(significance, "_CELLS_AT_ONCE", 333)
    assert bootstrap_mean(values, seed=9) == whole
    assert bootstrap_mean(values, seed=10) != whole


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_values_that_have_no_mean_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values must be"):
        bootstrap_mean(torch.tensor(values), seed=0)


def test_holm_is_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert max(adjusted) <= 1.0
