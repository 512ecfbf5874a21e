from __future__ import annotations

import numpy as np
import pytest
from tests.evolution.methods.policy_world import SPACE

from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_draws import Draws, Features

FEATURES = Features(Actions(SPACE))


def draws(seed: int) -> Draws:
    """One state, whose rows are far from alike."""
    strengths = 3 * np.random.default_rng(seed).normal(size=(1, FEATURES.shape[1]))
    return FEATURES.draws(strengths)


def in_each(found: Draws, times: int) -> Draws:
    """The same state so many times."""
    return Draws(
        np.repeat(found.cells, times, axis=0),
        tuple(np.repeat(shares, times, axis=0) for shares in found.options),
    )


def test_densities_are_relative_to_uniform_draws() -> None:
    rows = FEATURES.uniform().draw(20_000, np.random.default_rng(0))
    assert in_each(FEATURES.uniform(), len(rows)).log_density(rows) == pytest.approx(0)
    density = np.exp(in_each(draws(0), len(rows)).log_density(rows))
    assert density.mean() == pytest.approx(1, abs=0.1)
    assert density.std() > 0.5


def test_entropy_and_mean_features_are_those_of_what_is_drawn() -> None:
    rows = draws(1).draw(20_000, np.random.default_rng(0))
    surprise = -in_each(draws(1), len(rows)).log_density(rows)
    assert draws(1).entropy()[0] == pytest.approx(surprise.mean(), abs=0.03)
    assert draws(1).entropy()[0] < -0.3
    means = FEATURES.of_rows(rows).mean(0)
    assert draws(1).expected()[0] == pytest.approx(means, abs=0.03)
    assert rows.min() >= 0
    assert rows.max() <= 1


def test_without_strengths_draws_are_uniform() -> None:
    uniform = FEATURES.draws(np.zeros((3, FEATURES.shape[1])))
    assert uniform.entropy() == pytest.approx(0)
