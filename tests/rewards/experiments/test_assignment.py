from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from agenticrs.platform.errors import DataError
from agenticrs.rewards.experiments.assignment import assign, unit_interval

NUMBERS = np.arange(100_000)
PINNED_TEXTS = [0.929786639353027, 0.3060557003217712, 0.15147956679916574]
PINNED_NUMBERS = [0.04271713656733345, 0.18499158672884253, 0.7100118859091079]
NAMES = [f"user-{number}" for number in NUMBERS]


@pytest.mark.parametrize("salt", ["", "canary 7", "a", "b"])
@pytest.mark.parametrize("ids", [NUMBERS, NAMES], ids=["numbers", "texts"])
def test_users_spread_evenly_over_the_unit_interval(ids: list[str], salt: str) -> None:
    found = unit_interval(ids, salt)
    assert float(found.min()) >= 0
    assert float(found.max()) < 1
    counts = torch.histc(found, 1000, 0, 1).numpy()
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.kstest(found.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("ids", [NUMBERS, NAMES], ids=["numbers", "texts"])
def test_arms_of_two_experiments_have_nothing_to_do_with_each_other(ids: list[str]) -> None:
    one, other = (assign(ids, salt, (0.2, 0.3, 0.5)) for salt in ("exp 1", "exp 2"))
    table = torch.bincount(3 * one + other, minlength=9).view(3, 3).numpy()
    assert stats.chi2_contingency(table).pvalue > 1e-3
    shares = table.sum(1) / len(ids)
    assert shares.tolist() == pytest.approx([0.2, 0.3, 0.5], abs=0.01)


def test_neighbours_do_not_go_together() -> None:
    arms = assign(NUMBERS, "x", (0.5, 0.5)).numpy()
    table = np.histogram2d(arms[:-1], arms[1:], bins=2)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


@given(st.text(), st.text(max_size=30), st.lists(st.text(max_size=30), max_size=5))
def test_a_user_stays_in_an_arm_whoever_else_is_asked_about(
    salt: str, user: str, others: list[str]
) -> None:
    alone = unit_interval([user], salt)
    among = unit_interval([*others, user], salt)
    assert float(alone[0]) == float(among[-1])


def test_the_assignment_is_the_same_in_every_version() -> None:
    """A change of the hash would move the users of every running experiment."""
    assert unit_interval(["u1", "user", ""], "salt").tolist() == pytest.approx(
        PINNED_TEXTS, abs=1e-15
    )
    assert unit_interval(np.array([0, 1, -1]), "salt").tolist() == pytest.approx(
        PINNED_NUMBERS, abs=1e-15
    )


def test_a_first_arm_that_grows_keeps_its_users() -> None:
    before = assign(NAMES, "canary", (0.01, 0.99)) == 0
    for share in (0.05, 0.1, 0.25, 0.5, 1.0):
        after = assign(NAMES, "canary", (share, 1 - share)) == 0
        assert bool(after[before].all())
        before = after
    assert bool(before.all())


def test_what_cannot_be_assigned_is_refused() -> None:
    assert assign([], "x", (1.0,)).tolist() == []
    for shares in ((0.5, 0.6), (-0.1, 1.1), ()):
        with pytest.raises(ValueError, match="sum to 1"):
            assign(["u"], "x", shares)
    with pytest.raises(DataError, match="float64"):
        unit_interval(np.array([0.5]), "x")
