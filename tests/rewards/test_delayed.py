from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.platform.errors import DataError
from agenticrs.rewards.delayed import Attribution, attributed, delayed_reward

DAY = 86_400.0


@given(st.integers(0, 10_000))
def test_an_event_belongs_to_the_users_latest_exposure_before_it(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    exposed_user, event_user = (torch.randint(3, (n,), generator=generator) for n in (8, 12))
    exposed_at, event_at = (torch.randint(20, (n,), generator=generator) for n in (8, 12))
    found = attributed(exposed_user, exposed_at, event_user, event_at).tolist()
    for place, (user, at) in enumerate(zip(event_user.tolist(), event_at.tolist(), strict=True)):
        before = [
            int(exposed_at[one])
            for one in range(8)
            if int(exposed_user[one]) == user and int(exposed_at[one]) <= at
        ]
        if not before:
            assert found[place] == -1
        else:
            assert int(exposed_user[found[place]]) == user
            assert int(exposed_at[found[place]]) == max(before)


def test_nobody_is_owed_an_event_without_exposures() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert attributed(none, none, torch.tensor([1]), torch.tensor([5])).tolist() == [-1]
    assert attributed(torch.tensor([1]), torch.tensor([5]), none, none).tolist() == []


def test_when_all_is_due_it_is_the_discounted_sum() -> None:
    earned = delayed_reward(
        torch.tensor([0.0, 0.0, 50.0]),
        torch.tensor([0, 0, 1, 2, -1]),
        torch.tensor([10.0, 0.0, 101.0, 60.0, 5.0]),
        torch.tensor([4.0, 1.0, 7.0, 2.0, 99.0]),
        Attribution(window=100, half_life=10),
        now=1000,
    )
    assert earned.reward.tolist() == pytest.approx([4 / 2 + 1, 0.0, 2 / 2])
    assert earned.due.tolist() == [True, True, True]


def world(seed: int, n: int = 3000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Exposures over ten days, and a return to each with chance 1/2, after up to six days."""
    generator = torch.Generator().manual_seed(seed)
    exposed = 10 * DAY * torch.rand(n, generator=generator, dtype=torch.float64)
    delay = 6 * DAY * torch.rand(n, generator=generator, dtype=torch.float64)
    comes = torch.rand(n, generator=generator) < 0.5
    return exposed, exposed + delay, comes


def test_rewards_that_are_not_due_yet_are_made_up_for() -> None:
    attribution, now = Attribution(window=7 * DAY, half_life=2 * DAY), 10 * DAY
    # The mean of 2^(-d / 2 days) over d in [0, 6] days, times one half.
    truth = 0.5 * (1 - 2**-3) * 2 / (6 * math.log(2))
    estimates, plain, complete = [], [], []
    for seed in range(60):
        exposed, returns, comes = world(seed)
        seen = comes & (returns <= now)
        earned = delayed_reward(
            exposed,
            torch.nonzero(seen)[:, 0],
            returns[seen],
            torch.ones(int(seen.sum())),
            attribution,
            now=now,
        )
        estimates.append(float(earned.reward.mean()))
        worth = torch.where(seen, attribution.discount(returns - exposed), 0.0)
        plain.append(float(worth.mean()))
        complete.append(float(worth[earned.due].mean()))
    found = torch.tensor(estimates)
    assert abs(float(found.mean()) - truth) < 3 * float(found.std()) / math.sqrt(60)
    assert sum(plain) / 60 < 0.85 * truth, "counting them as they are is far too low"
    assert float(found.std()) < float(torch.tensor(complete).std()), "and due ones alone say less"


def test_what_cannot_be_known_is_refused() -> None:
    week = Attribution(window=7 * DAY)
    nothing = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(DataError, match="no exposure is 604800 s old"):
        delayed_reward(torch.zeros(1), nothing, nothing, nothing, week, now=6 * DAY)
    with pytest.raises(DataError, match="in the future"):
        delayed_reward(torch.full((1,), 5.0), nothing, nothing, nothing, week, now=4)
    with pytest.raises(DataError, match="before its exposure"):
        delayed_reward(
            torch.full((1,), 5.0),
            torch.zeros(1, dtype=torch.int64),
            torch.tensor([4.0]),
            torch.ones(1),
            week,
            now=8 * DAY,
        )
    for window, half_life in ((0, 1), (math.inf, 1), (1, 0)):
        with pytest.raises(ValueError, match="need 0 < window"):
            Attribution(window, half_life)
