from __future__ import annotations

import math

import pytest
import torch

from agenticrs.platform.errors import DataError
from agenticrs.rewards.experiments.cuped import cuped

N = 4000


def users(seed: int, rho: float, effect: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Reward, past and arm of users whose reward has correlation ``rho`` with their past."""
    generator = torch.Generator().manual_seed(seed)
    past, noise = (torch.randn(N, generator=generator, dtype=torch.float64) for _ in range(2))
    arm = torch.rand(N, generator=generator) < 0.2
    reward = 3 + rho * past + math.sqrt(1 - rho**2) * noise + effect * arm
    return reward, past, arm


def test_what_the_past_explains_is_taken_out_and_no_more() -> None:
    reward, past, _ = users(0, 0.8, 0.0)
    adjusted = cuped(reward, past)
    assert adjusted.explained == pytest.approx(0.64, abs=0.03)
    left = float(adjusted.reward.var() / reward.var())
    assert left == pytest.approx(1 - adjusted.explained)
    assert float(adjusted.reward.mean()) == pytest.approx(float(reward.mean()))


def test_the_effect_stays_and_is_seen_more_exactly() -> None:
    plain, exact = [], []
    for seed in range(100):
        reward, past, arm = users(seed, 0.8, 0.2)
        adjusted = cuped(reward, past).reward
        plain.append(float(reward[arm].mean() - reward[~arm].mean()))
        exact.append(float(adjusted[arm].mean() - adjusted[~arm].mean()))
    found = torch.tensor(exact)
    assert abs(float(found.mean()) - 0.2) < 3 * float(found.std()) / 10
    assert float(found.std()) < 0.75 * float(torch.tensor(plain).std())


def test_several_pasts_and_missing_ones_are_used_as_far_as_they_go() -> None:
    reward, past, _ = users(1, 0.6, 0.0)
    noise = torch.randn(N, generator=torch.Generator().manual_seed(9))
    both = cuped(reward, torch.stack([past, noise, torch.ones(N)], 1))
    assert both.explained == pytest.approx(cuped(reward, past).explained, abs=0.005)
    half = past.clone()
    half[::2] = math.nan
    assert 0.1 < cuped(reward, half).explained < 0.25
    nobody = cuped(reward, torch.full((N,), math.nan))
    assert torch.equal(nobody.reward, reward)
    assert nobody.explained == pytest.approx(0.0)


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(DataError, match="a past for each reward"):
        cuped(torch.ones(3), torch.ones(4))
    with pytest.raises(DataError, match="finite"):
        cuped(torch.tensor([math.inf]), torch.ones(1))
