from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.rewards.blend import blended_difference, blended_score, joined_lift, lift

rewards = st.lists(st.floats(0, 1), min_size=5, max_size=5)


def test_a_lift_is_relative_to_the_champion() -> None:
    assert lift(0.12, 0.10) == pytest.approx(0.2)
    assert lift(0.05, 0.10) == pytest.approx(-0.5)


def test_beside_a_champion_that_earns_nothing_the_lift_is_the_difference() -> None:
    assert lift(0.3, 0.0) == 0.3
    assert lift(0.0, 0.0) == 0.0


def test_the_weight_moves_the_score_from_inner_to_outer() -> None:
    assert blended_score(0.2, 0.1, 0.5, 0.5, 0.0) == pytest.approx(1.0)
    assert blended_score(0.2, 0.1, 0.5, 0.5, 1.0) == pytest.approx(0.0)
    assert blended_score(0.2, 0.1, 0.4, 0.5, 0.25) == pytest.approx(0.75 - 0.05)


def test_a_weight_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 1\.5"):
        blended_score(1, 1, 1, 1, 1.5)


def test_rewards_of_different_users_are_refused() -> None:
    with pytest.raises(ValueError, match="same users"):
        blended_difference(torch.ones(3), torch.ones(3), torch.ones(2), torch.ones(3), 0.5)


@given(rewards, rewards, rewards, rewards, st.floats(0, 1))
def test_the_mean_of_the_per_user_difference_is_the_blended_score(
    inner: list[float],
    inner_champion: list[float],
    outer: list[float],
    outer_champion: list[float],
    weight: float,
) -> None:
    a, b, c, d = (
        torch.tensor(values, dtype=torch.float64)
        for values in (inner, inner_champion, outer, outer_champion)
    )
    means = [float(vector.mean()) for vector in (a, b, c, d)]
    expected = blended_score(means[0], means[1], means[2], means[3], weight)
    got = float(blended_difference(a, b, c, d, weight).mean())
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_lift_of_some_users_joins_that_of_all_by_its_share() -> None:
    everybody, some = torch.linspace(0.0, 0.4, 90), torch.linspace(0.5, 0.7, 30)
    rows = torch.arange(0, 90, 3)
    joined = joined_lift(everybody, some, rows, 0.25)
    assert float(joined.mean()) == pytest.approx(0.75 * 0.2 + 0.25 * 0.6)
    assert torch.equal(joined_lift(everybody, some, rows, 0.0), everybody.to(torch.float64))


def test_a_joined_lift_spreads_as_the_sum_of_both_means_does() -> None:
    generator = torch.Generator().manual_seed(0)
    ends = []
    for _ in range(400):
        everybody = torch.randn(300, generator=generator, dtype=torch.float64)
        some = torch.randn(60, generator=generator, dtype=torch.float64) * 2
        joined = joined_lift(everybody, some, torch.arange(60), 0.5)
        ends.append((float(joined.mean()), float(joined.std()) / 300**0.5))
    means, errors = torch.tensor(ends, dtype=torch.float64).unbind(1)
    assert float(errors.mean()) == pytest.approx(float(means.std()), rel=0.1)


def test_lifts_without_users_and_shares_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="0 lifts"):
        joined_lift(torch.ones(3), torch.ones(0), torch.arange(0), 0.5)
    with pytest.raises(ValueError, match=r"got 1\.2"):
        joined_lift(torch.ones(3), torch.ones(1), torch.arange(1), 1.2)
