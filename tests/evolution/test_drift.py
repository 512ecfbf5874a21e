from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agenticrs.evolution import drift as module
from agenticrs.evolution.drift import drift, population_stability
from agenticrs.platform.data.dataset import Dataset, Features, Interactions, Positive

USERS, ITEMS, ROWS, KNOWN = 400, 120, 8000, 7400


def log(seed: int, *, moved: str = "", growing: bool = False) -> Dataset:
    """A log whose users come in sessions; from row KNOWN on something may be different."""
    rng = np.random.default_rng(seed)
    late = np.arange(ROWS) >= KNOWN
    sessions = rng.integers(0, USERS, ROWS // 5).repeat(5)  # five rows of a user in a row
    user = np.where(late, 300 + sessions % 100, sessions % 300) if moved == "users" else sessions
    if growing:  # new users arrive at a steady rate
        user = np.minimum((user * (0.5 + np.arange(ROWS) / ROWS)).astype(np.int64), USERS - 1)
    weight = 1.0 / np.arange(1, ITEMS + 1)
    item = rng.choice(ITEMS, ROWS, p=weight / weight.sum())
    if moved == "items":
        item = np.where(late, ITEMS - 1 - item, item)
    click = (rng.random(ROWS) < np.where(late & (moved == "reward"), 0.15, 0.3)).astype(np.float32)
    watch = rng.exponential(np.where(late & (moved == "behaviours"), 3.0, 1.0)).astype(np.float32)
    names = {"user_ids": USERS, "item_ids": ITEMS, "item_titles": ITEMS}
    nothing: Any = {name: np.arange(n).astype(np.str_) for name, n in names.items()}
    return Dataset(
        name="log",
        fingerprint=str(seed),
        interactions=Interactions(
            user=user.astype(np.int32),
            item=item.astype(np.int32),
            timestamp=np.arange(ROWS, dtype=np.int64),
            behaviours={"click": click, "watch": watch},
        ),
        user_features=Features(),
        item_features=Features(),
        positive=Positive("click", 1.0),
        **nothing,
    )


@pytest.mark.parametrize("moved", ["users", "items", "behaviours", "reward"])
def test_a_planted_change_is_detected_by_its_signal(moved: str) -> None:
    # A rank among forty blocks never is below .025. Of the reward 141 rows say less.
    alpha = 0.05 if moved == "reward" else 0.01
    for seed in range(5):
        found = drift(log(seed, moved=moved), KNOWN)
        assert found.detected(alpha), found
        largest = max(found.signals, key=lambda signal: signal.deviation)
        assert largest.name == moved


@pytest.mark.parametrize("growing", [False, True])
def test_false_alarms_are_as_rare_as_promised(growing: bool) -> None:
    alarms = sum(drift(log(seed, growing=growing), KNOWN).detected(0.05) for seed in range(60))
    # 97.5 % of binomials of 60 with a share of .05 lie at 6 or below.
    assert alarms <= 6


def sliding(seed: int) -> Dataset:
    """A log whose items come and go all the time: rows are the more unlike the further apart."""
    known, rng = log(seed), np.random.default_rng(seed)
    near = np.abs(rng.normal(0.0, 15.0, ROWS)).astype(np.int64)
    item = (np.arange(ROWS) // 100 + near) % ITEMS
    rows = replace(known.interactions, item=item.astype(np.int32))
    return replace(known, interactions=rows)


def test_a_world_that_always_slides_is_no_alarm_however_much_of_it_is_new() -> None:
    for known in (5500, 6500, 7800):
        alarms = sum(drift(sliding(seed), known).detected(0.05) for seed in range(40))
        assert alarms <= 5, known  # 97.5 % of binomials of 40 with a share of .05


def wandering(rng: np.random.Generator, alike: float, slope: float) -> np.ndarray[Any, Any]:
    """Logarithms of indices, (400, BLOCKS + 1): neighbours are alike, and all may move steadily.

    Twenty blocks lie between the window's last one and the newest one.
    """
    n = module.BLOCKS + 21
    noise = rng.normal(size=(400, n))
    for i in range(1, n):
        noise[:, i] = alike * noise[:, i - 1] + (1 - alike**2) ** 0.5 * noise[:, i]
    found = 0.3 * noise + slope * np.arange(n)
    return found[:, [*range(module.BLOCKS), n - 1]]


@pytest.mark.parametrize("alike", [0.0, 0.6])
@pytest.mark.parametrize("slope", [0.0, 0.02])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.10])
def test_neither_wandering_nor_steady_movement_is_unlikely(
    alike: float, slope: float, alpha: float
) -> None:
    places = np.array([*range(module.BLOCKS), module.BLOCKS + 20.0])
    looks = wandering(np.random.default_rng(0), alike, slope)
    chances = [
        max(module._chance("items", np.exp(look), places, degree) for degree in (0, 1))
        for look in looks
    ]
    # The upper end of 97.5 % of binomials of 400 with a share of alpha.
    assert sum(p <= alpha for p in chances) <= {0.01: 8, 0.05: 29, 0.10: 52}[alpha]


def test_the_reward_moves_to_both_sides() -> None:
    looks = np.random.default_rng(1).normal(0.0, 0.02, module.BLOCKS + 1)
    places = np.arange(module.BLOCKS + 1.0)
    for way in (-1.0, 1.0):
        looks[-1] = way * 0.2
        assert module._chance("reward", looks, places, 0) < 1e-3


def test_students_tail_is_that_of_the_tables() -> None:
    for free, t, p in ((5, 2.015, 0.05), (5, 4.032, 0.005), (20, 1.725, 0.05), (20, 3.552, 0.001)):
        assert module._beyond(t, free) == pytest.approx(p, rel=0.05)
        assert module._beyond(-t, free) == pytest.approx(1 - p, rel=0.01)
    assert 0.01 <= module._beyond(6.965, 2) < 0.013  # too large rather than small
    assert module._beyond(1e9, 30) > 0


def test_a_window_without_any_change_expects_none() -> None:
    same = np.full(module.BLOCKS + 1, 0.2)
    places = np.arange(module.BLOCKS + 1.0)
    assert module._chance("behaviours", same, places, 1) == pytest.approx(0.5, abs=1e-6)
    same[-1] = 0.4
    assert module._chance("behaviours", same, places, 1) < 1e-3


def test_too_little_that_is_new_or_no_times_tell_nothing() -> None:
    few = drift(log(0, moved="items"), ROWS - module.LEAST_ROWS + 1)
    assert few.rows == 0
    assert not few.detected(1.0)
    assert drift(replace(log(0), has_times=False), KNOWN) is module.NOTHING
    assert drift(log(0, moved="items"), ROWS // 2) is module.NOTHING  # as much is new as is known


def test_the_index_is_zero_for_equal_shares_and_grows_with_the_difference() -> None:
    even = np.array([0.5, 0.5])
    assert population_stability(even, even) == pytest.approx(0.0)
    small = population_stability(even, np.array([0.55, 0.45]))
    assert 0 < small < population_stability(even, np.array([0.9, 0.1]))
    # By hand, without smoothing: (.9 - .5) ln(.9 / .5) + (.1 - .5) ln(.1 / .5).
    by_hand = 0.4 * np.log(1.8) - 0.4 * np.log(0.2)
    assert population_stability(even, np.array([0.9, 0.1])) == pytest.approx(by_hand, rel=1e-2)
