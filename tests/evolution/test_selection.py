from __future__ import annotations

import numpy as np
import pytest

from agenticrs.evolution.evidence import Estimate
from agenticrs.evolution.selection import (
    blended,
    compare,
    convincing,
    guardrails,
    mean_reward,
    membership,
)
from agenticrs.platform.data.splits import search_users
from agenticrs.registry.graph import Condition, Graph, Node


def test_about_a_third_of_the_users_steers_the_search_and_always_the_same() -> None:
    users = np.arange(30_000)
    mask = search_users(users)
    assert 0.32 < mask.mean() < 0.35
    assert (search_users(users[::-1])[::-1] == mask).all()


def test_the_search_is_steered_by_its_own_users_only() -> None:
    users = np.arange(1000)
    values = np.where(search_users(users), 1.0, 0.0)
    assert mean_reward(values, users) == 1.0


def test_noise_alone_is_rarely_accepted_and_a_real_gain_is() -> None:
    generator = np.random.default_rng(0)
    wrong = 0
    for seed in range(60):
        before = generator.random(300)
        found = compare("m", before, before + generator.normal(0, 0.3, 300), seed=seed)
        wrong += convincing([found.difference], 0.05, 0.0)[0]
    assert wrong <= 6
    real = compare("m", before, before + 0.05, seed=0).difference
    assert convincing([real], 0.05, 0.0) == [True]


def test_rewards_that_lie_in_shared_memory_are_compared_without_a_warning() -> None:
    before, after = np.full(40, 0.25), np.linspace(0.0, 1.0, 40)
    for one in (before, after):
        one.flags.writeable = False
    assert compare("m", before, after, seed=0).difference.mean == pytest.approx(0.25)


def gain(p_value: float, mean: float = 1.0, low: float = 0.1) -> Estimate:
    return Estimate(mean=mean, low=low, high=2.0, p_value=p_value)


def test_many_comparisons_are_held_to_the_family_wise_level() -> None:
    assert convincing([gain(0.03)], 0.05, 0.0) == [True]
    assert convincing([gain(0.03), gain(0.5), gain(0.5)], 0.05, 0.0) == [False, False, False]
    assert convincing([gain(0.001, mean=-1.0, low=-2.0)], 0.05, 0.0) == [False]


def test_a_gain_that_may_not_win_makes_it_no_easier_for_others() -> None:
    assert convincing([gain(0.001), gain(0.04)], 0.05, 0.0) == [True, True]
    assert convincing([None, gain(0.04)], 0.05, 0.0) == [False, False]


def test_the_interval_of_a_blended_lift_is_as_wide_as_the_level_says() -> None:
    generator = np.random.default_rng(3)
    before = generator.random(200) + 1.0
    pair = (before, before), (before + generator.normal(0, 0.2, 200),) * 2
    usual, narrow, wide = (
        blended(*pair, 0.5, seed=0, level=level) for level in (0.95, 0.001, 0.999)
    )
    assert blended(*pair, 0.5, seed=0) == usual
    assert wide.low < usual.low < narrow.low < narrow.high < usual.high < wide.high
    assert narrow.high - narrow.low < 0.01 * (usual.high - usual.low)


def test_the_blended_lift_weighs_inner_and_outer_lifts() -> None:
    ones = np.ones(50)
    found = blended((ones, ones), (ones * 1.2, ones * 1.5), 0.25, seed=0)
    assert found.mean == pytest.approx(0.75 * 0.2 + 0.25 * 0.5)


def test_guardrails_name_what_broke() -> None:
    before = {"latency_ms": 2.0, "coverage@10": 0.5}
    slow = guardrails(
        before,
        {"latency_ms": 80.0, "coverage@10": 0.45},
        latency_limit_ms=50,
        coverage_floor=0.8,
    )
    assert [rail.passed for rail in slow] == [False, True]
    narrow = guardrails(
        before, {"latency_ms": 1.0, "coverage@10": 0.3}, latency_limit_ms=50, coverage_floor=0.8
    )
    assert [rail.passed for rail in narrow] == [True, False]


def test_who_acts_for_others_or_hands_on_fewer_is_said_to_change() -> None:
    router, ease = (Node(id=name, agent=name, version=1) for name in ("router", "ease"))
    fusion = Node(id="rrf", agent="rrf", version=1, inputs=("ease",))
    ranker = Node(id="dcn", agent="dcn", version=1, inputs=("users", "rrf"))
    warm = Condition(node="router", segments=("warm",))
    before = Graph(nodes=(router, ease, fusion, ranker), output="dcn")
    assert membership(before, before).changed == ()
    after = Graph(
        nodes=(
            router,
            ease,
            fusion.model_copy(update={"keep": 20}),
            ranker.model_copy(update={"when": warm}),
        ),
        output="dcn",
    )
    assert membership(before, after).changed == ("dcn", "rrf")
    newer = membership(before, before.with_version("ease", 2))
    assert (newer.added, newer.removed, newer.changed) == ((), (), ("ease",))
