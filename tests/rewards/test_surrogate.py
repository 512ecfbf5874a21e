from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.rewards.surrogate import Scheme, Studies, fit_weights, objective_quality

EVEN = torch.full((4,), 0.25, dtype=torch.float64)


def users(truth: list[float], n: int = 4000, noise: float = 0.5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    short = torch.randn(n, len(truth), generator=generator, dtype=torch.float64)
    later = short @ torch.tensor(truth, dtype=torch.float64)
    return short, later + noise * torch.randn(n, generator=generator, dtype=torch.float64)


def test_what_tells_most_of_what_comes_later_weighs_most() -> None:
    short, later = users([3.0, 1.0, 0.0, 0.0])
    found = fit_weights(short, later, EVEN, Scheme(belief=1.0))
    assert found.tolist() == pytest.approx([0.75, 0.25, 0.0, 0.0], abs=0.02)


def test_what_speaks_against_it_is_left_out_and_the_others_fitted_without_it() -> None:
    short, later = users([1.0, 1.0, -2.0, 0.0])
    found = fit_weights(short, later, EVEN, Scheme(belief=1.0))
    assert found.tolist() == pytest.approx([0.5, 0.5, 0.0, 0.0], abs=0.03)


def test_belief_holds_to_the_present_weights() -> None:
    short, later = users([3.0, 1.0, 0.0, 0.0], n=200)
    present = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    found = fit_weights(short, later, present, Scheme(belief=1e7))
    assert found.tolist() == pytest.approx(present.tolist(), abs=0.01)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.5, 1e4), st.floats(0.0, 0.19))
def test_weights_are_shares_whatever_was_seen(seed: int, belief: float, least: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    short = torch.randn(3, 20, 5, generator=generator)
    later = torch.randn(3, 20, generator=generator)
    found = fit_weights(short, later, torch.rand(3, 5, generator=generator), Scheme(belief, least))
    assert bool((found >= 0).all())
    assert torch.allclose(found.sum(-1), torch.ones(3, dtype=torch.float64))


def test_learning_chooses_better_than_weights_that_were_guessed() -> None:
    found = objective_quality(Scheme(), runs=400, seed=1)
    told = found.totals()
    assert float(found.shares.mean()) > told["present_quality"] + 0.1
    assert told["chose_worse"] < 0.2
    assert bool((found.chosen <= found.best).all())


def test_with_many_users_and_little_noise_the_choice_is_nearly_the_best() -> None:
    easy = Studies(users=2000, noise=0.3)
    assert float(objective_quality(Scheme(1.0), easy, runs=50, seed=0).shares.mean()) > 0.99


def test_schemes_out_of_range_are_refused() -> None:
    for belief, least in ((0.0, 0.0), (1.0, 0.5)):
        with pytest.raises(ValueError, match="belief"):
            Scheme(belief, least)
