from __future__ import annotations

import pytest
import torch

from agenticrs.rewards.experiments.quality import Design, Traffic, decision_quality


def test_who_could_decide_at_once_would_get_nearly_everything() -> None:
    crowd = Traffic(users=100_000_000, price=0.0)
    found = decision_quality(Design(), crowd, runs=50, seed=0)
    assert 0.97 < found.captured <= 1.0
    assert (found.power, found.wrong) == (1.0, 0.0)
    assert found.steps < 1.3


def test_what_no_experiment_can_see_changes_nothing_and_costs_its_wait() -> None:
    handful = Traffic(users=20, price=0.01)
    found = decision_quality(Design(horizon=10), handful, runs=200, seed=0)
    assert found.power < 0.1
    assert found.steps > 9
    assert found.captured < 0.1


def test_taking_out_the_past_pays_and_designs_meet_the_same_changes() -> None:
    plain, adjusted = (
        decision_quality(Design(adjust=adjust), runs=200, seed=3) for adjust in (False, True)
    )
    assert torch.equal(plain.best, adjusted.best)
    assert adjusted.captured > plain.captured
    assert adjusted.steps < plain.steps


def test_changes_that_are_worse_are_seldom_taken() -> None:
    found = decision_quality(Design(), Traffic(effect=0.005), runs=600, seed=4)
    assert found.wrong <= 0.05


def test_designs_out_of_range_are_refused() -> None:
    for allocation, horizon, spent, alpha in (
        (0.0, 14, 0.5, 0.05),
        (0.5, 0, 0.5, 0.05),
        (0.5, 14, 1.5, 0.05),
        (0.5, 14, 0.5, 1.0),
    ):
        with pytest.raises(ValueError, match="out of range"):
            Design(allocation, horizon, spent, alpha=alpha)
