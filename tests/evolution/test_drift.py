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
    for seed in range(5):
        found = drift(log(seed, moved=moved), KNOWN)
        assert found.detected(0.05), found
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
