from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agenticrs.platform.errors import DataError
from agenticrs.rewards.off_policy import (
    Logged,
    Worth,
    bootstrap_interval,
    cross_fitted_means,
    direct,
    doubly_robust,
    effective_sample_size,
    expected,
    ips,
    snips,
    weights,
)

CONTEXTS, ACTIONS = 4, 5
SETS = 150
"""Logs that are drawn where a mean over logs is tested."""


@dataclass(frozen=True)
class Bandit:
    """A world with known rewards: chances of a click, who decided, and who is asked about."""

    clicks: Tensor
    behaviour: Tensor
    target: Tensor

    @staticmethod
    def of(seed: int) -> Bandit:
        generator = torch.Generator().manual_seed(seed)
        shape = (CONTEXTS, ACTIONS)
        clicks = 0.1 + 0.6 * torch.rand(shape, generator=generator, dtype=torch.float64)
        drawn = [torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
        behaviour, target = (torch.softmax(3 * one, 1) for one in drawn)
        return Bandit(clicks, behaviour, target)

    @property
    def truth(self) -> float:
        return float((self.clicks * self.target).sum(1).mean())

    def log(self, n: int, seed: int) -> tuple[Tensor, Tensor, Logged]:
        """Contexts, decisions, and what was logged."""
        generator = torch.Generator().manual_seed(seed)
        context = torch.randint(CONTEXTS, (n,), generator=generator)
        decision = torch.multinomial(self.behaviour[context], 1, generator=generator)[:, 0]
        chance = self.clicks[context, decision]
        reward = torch.bernoulli(chance, generator=generator)
        return context, decision, Logged.of(reward, self.behaviour[context, decision])


def robust(
    world: Bandit, n: int, seed: int, model: Tensor, propensity: Tensor | None = None
) -> Worth:
    """Doubly robust with a model (CONTEXTS, ACTIONS), and perhaps other propensities."""
    context, decision, log = world.log(n, seed)
    if propensity is not None:
        log = Logged.of(log.reward, propensity[context, decision])
    return doubly_robust(
        log,
        world.target[context, decision],
        model[context, decision],
        expected(model[context], world.target[context]),
    )


def off_by(values: list[float], truth: float) -> float:
    """Standard errors between the mean of estimates and the truth."""
    found = np.array(values)
    return float(abs(found.mean() - truth) / (found.std(ddof=1) / math.sqrt(len(found))))


def test_ips_and_doubly_robust_are_right_on_average_and_the_log_is_not() -> None:
    world = Bandit.of(0)
    model = torch.full((CONTEXTS, ACTIONS), 0.9, dtype=torch.float64)
    found: dict[str, list[float]] = {"ips": [], "dr": [], "log": []}
    for seed in range(SETS):
        context, decision, log = world.log(400, seed)
        found["ips"].append(ips(log, world.target[context, decision]).value)
        found["dr"].append(robust(world, 400, seed, model).value)
        found["log"].append(float(log.reward.mean()))
    assert off_by(found["ips"], world.truth) < 3
    assert off_by(found["dr"], world.truth) < 3
    assert off_by(found["log"], world.truth) > 6


def test_snips_has_a_small_bias_that_shrinks_and_less_spread() -> None:
    world = Bandit.of(1)
    plain, normalised = [], []
    for seed in range(SETS):
        context, decision, log = world.log(400, seed)
        shifted = Logged.of(log.reward + 5, log.propensity)
        target = world.target[context, decision]
        plain.append(ips(shifted, target).value - 5)
        normalised.append(snips(shifted, target).value - 5)
    assert abs(np.mean(normalised) - world.truth) < 0.005
    assert np.std(normalised) < np.std(plain) / 5


def test_doubly_robust_is_right_when_either_part_is() -> None:
    world = Bandit.of(2)
    blind = torch.full((CONTEXTS, ACTIONS), 0.8, dtype=torch.float64)
    # Wrong in a way that the weights do not show: they average 1.
    flat = (world.behaviour * world.target).sum(1).mean().expand(CONTEXTS, ACTIONS)
    right = [robust(world, 400, seed, blind).value for seed in range(SETS)]
    assert off_by(right, world.truth) < 3
    right = [robust(world, 400, seed, world.clicks, flat).value for seed in range(SETS)]
    assert off_by(right, world.truth) < 3
    wrong = [robust(world, 1500, seed, blind, flat).value for seed in range(SETS)]
    assert off_by(wrong, world.truth) > 5


def test_a_good_model_narrows_the_interval_of_ips() -> None:
    world = Bandit.of(3)
    context, decision, log = world.log(2000, 0)
    target = world.target[context, decision]
    plain = ips(Logged.of(log.reward + 1, log.propensity), target)
    helped = robust(world, 2000, 0, world.clicks)
    assert helped.error < 0.6 * plain.error


@pytest.mark.parametrize("kind", ["ips", "snips", "dr"])
def test_intervals_hold_the_truth_as_often_as_they_say(kind: str) -> None:
    world = Bandit.of(4)
    held = 0
    for seed in range(SETS):
        context, decision, log = world.log(600, seed)
        target = world.target[context, decision]
        if kind == "dr":
            worth = robust(world, 600, seed, 0.5 * world.clicks)
        else:
            worth = (ips if kind == "ips" else snips)(log, target)
        held += worth.low <= world.truth <= worth.high
    assert abs(held / SETS - 0.95) < 4 * math.sqrt(0.95 * 0.05 / SETS)


def test_bootstrap_and_normal_intervals_agree_where_weights_are_mild() -> None:
    world = Bandit.of(5)
    context, decision, log = world.log(3000, 0)
    for worth in (ips(log, world.target[context, decision]), snips(log, log.propensity)):
        low, high = bootstrap_interval(log, worth, seed=0)
        assert low == pytest.approx(worth.low, abs=0.2 * worth.error)
        assert high == pytest.approx(worth.high, abs=0.2 * worth.error)
        assert (low, high) == bootstrap_interval(log, worth, seed=0)


def test_rows_of_one_user_say_less_than_rows_of_several() -> None:
    world = Bandit.of(6)
    context, decision, log = world.log(500, 0)
    target = world.target[context, decision]
    four = torch.arange(500).repeat(4)
    again = Logged.of(log.reward.repeat(4), log.propensity.repeat(4), four)
    once, grouped = ips(log, target), ips(again, target.repeat(4))
    assert grouped.value == pytest.approx(once.value)
    assert grouped.error == pytest.approx(once.error)
    apart = ips(Logged.of(again.reward, again.propensity), target.repeat(4))
    assert apart.error == pytest.approx(once.error / 2, rel=0.01)
    low, high = bootstrap_interval(again, grouped, seed=0)
    assert high - low == pytest.approx(grouped.high - grouped.low, rel=0.1)


def test_a_policy_is_worth_its_own_mean_in_its_own_log() -> None:
    _, _, log = Bandit.of(7).log(200, 0)
    mean = float(log.reward.mean())
    for worth in (ips(log, log.propensity), snips(log, log.propensity)):
        assert worth.value == pytest.approx(mean)
        assert worth.effective == pytest.approx(200)
        assert worth.heaviest == pytest.approx(1 / 200)


def test_a_limit_on_weights_narrows_and_draws_to_nought() -> None:
    world = Bandit.of(8)
    context, decision, log = world.log(2000, 0)
    target = world.target[context, decision]
    free, limited = ips(log, target), ips(log, target, clip=1.5)
    assert limited.value < free.value
    assert limited.error < free.error
    assert free.clipped == 0 < limited.clipped < 1
    assert float(weights(log, target, clip=1.5).max()) == 1.5
    assert limited.effective > free.effective


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_the_effective_sample_size_lies_between_one_and_all(drawn: list[float]) -> None:
    weight = torch.tensor(drawn, dtype=torch.float64)
    size = effective_sample_size(weight)
    if float(weight.square().sum()) > 0:
        assert 1 - 1e-6 <= size <= len(drawn) + 1e-6
    else:
        assert size == 0


@pytest.mark.parametrize(
    ("propensity", "says"),
    [([0.5, 0.0], "row 1"), ([-0.1, 0.5], "row 0"), ([0.5, 1.5], "1.5"), ([math.nan, 1], "nan")],
)
def test_impossible_propensities_are_refused_with_their_row(
    propensity: list[float], says: str
) -> None:
    with pytest.raises(DataError, match=says) as refusal:
        Logged.of(torch.ones(2), torch.tensor(propensity))
    assert "log it when deciding" in refusal.value.hint


def test_propensities_of_another_log_are_noticed_by_their_weights() -> None:
    world = Bandit.of(9)
    context, decision, log = world.log(3000, 0)
    halved = Logged.of(log.reward, log.propensity / 2)
    with pytest.raises(DataError, match=r"average .* must average 1"):
        ips(halved, world.target[context, decision])
    without_its_favourite = world.behaviour.clone()
    without_its_favourite[torch.arange(CONTEXTS), world.target.argmax(1)] = 0
    narrow = Bandit(world.clicks, without_its_favourite, world.target)
    context, decision, log = narrow.log(3000, 0)
    chance = without_its_favourite / without_its_favourite.sum(1, keepdim=True)
    log = Logged.of(log.reward, chance[context, decision])
    with pytest.raises(DataError, match=r"average 0\.\d+ where") as refusal:
        ips(log, world.target[context, decision])
    assert "never" in refusal.value.hint


def test_what_is_no_log_or_no_target_is_refused() -> None:
    log = Logged.of(torch.ones(3), torch.full((3,), 0.5))
    with pytest.raises(DataError, match="reward nan"):
        Logged.of(torch.tensor([math.nan]), torch.ones(1))
    with pytest.raises(DataError, match="a reward and a propensity"):
        Logged.of(torch.ones(0), torch.ones(0))
    with pytest.raises(DataError, match="a group for each row"):
        Logged.of(torch.ones(2), torch.ones(2), torch.zeros(3))
    with pytest.raises(DataError, match=r"target 1\.2"):
        ips(log, torch.tensor([0.1, 1.2, 0.3]))
    with pytest.raises(DataError, match="never does"):
        snips(log, torch.zeros(3))
    with pytest.raises(DataError, match="prediction inf"):
        direct(log, torch.tensor([0.1, math.inf, 0.3]))
    with pytest.raises(DataError, match="no distribution"):
        expected(torch.ones(2, 2), torch.tensor([[0.5, 0.5], [0.5, 0.1]]))
    with pytest.raises(ValueError, match="clip must be positive"):
        ips(log, torch.full((3,), 0.5), clip=0)
    with pytest.raises(ValueError, match="level"):
        ips(log, torch.full((3,), 0.5), level=1)


def test_a_cross_fitted_model_has_not_seen_the_row_it_speaks_of() -> None:
    reward, decision = torch.tensor([1.0, 0, 0, 0, 0, 0]), torch.tensor([0, 0, 0, 1, 1, 1])
    before = cross_fitted_means(reward, decision, 2, folds=6, strength=0.0, seed=0)
    after = cross_fitted_means(
        torch.tensor([9.0, 0, 0, 0, 0, 0]), decision, 2, folds=6, strength=0.0, seed=0
    )
    assert before[0].tolist() == after[0].tolist() == [0.0, 0.0]
    assert before[1].tolist() == [0.5, 0.0]
    drawn = cross_fitted_means(reward, decision, 2, folds=6, strength=1e9, seed=0)
    assert drawn[1].tolist() == pytest.approx([0.2, 0.2])
    with pytest.raises(ValueError, match="folds"):
        cross_fitted_means(reward, decision, 2, folds=7, seed=0)
