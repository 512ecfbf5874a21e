from __future__ import annotations

import pytest
import torch

from agenticrs.rewards.experiments.quality import Course, Traffic, changes, decision_quality

FEW = Traffic(users=200, lifetime=60)


def test_who_could_decide_at_once_would_get_nearly_everything() -> None:
    crowd = Traffic(users=1_000_000_000, price=0.0, asking=0.0)
    found = decision_quality(Course(stages=(0.01, 1.0)), crowd, runs=600, seed=0)
    assert 0.98 < found.captured <= 1.0
    told = found.totals()
    assert (told["harm_caught_early"], told["better_promoted"]) == (1.0, 1.0)
    assert told["harm_exposed"] == pytest.approx(0.01)


def test_what_no_canary_can_see_changes_nothing_and_costs_its_wait() -> None:
    found = decision_quality(Course(patience=10), FEW, runs=300, seed=0)
    told = found.totals()
    assert (told["harm_promoted"], told["better_promoted"]) == (0.0, 0.0)
    assert told["asked"] > 0.95
    assert found.captured < 0.0


def test_the_usual_rules_catch_what_is_planted_and_promote_what_is_better() -> None:
    told = decision_quality(Course(), runs=600, seed=1).totals()
    assert told["harm_caught_early"] > 0.9
    assert told["harm_promoted"] <= 0.01
    assert told["better_promoted"] > 0.95


def test_taking_out_the_past_pays_and_courses_meet_the_same_versions() -> None:
    plain, adjusted = (
        decision_quality(Course(adjust=adjust), runs=300, seed=3) for adjust in (False, True)
    )
    assert torch.equal(plain.best, adjusted.best)
    assert adjusted.captured > plain.captured
    assert adjusted.totals()["steps"] < plain.totals()["steps"]


def test_showing_it_to_many_at_once_exposes_more_users_to_harm() -> None:
    careful, bold = (
        decision_quality(Course(stages=stages), runs=300, seed=4).totals()["harm_exposed"]
        for stages in ((0.01, 0.1, 1.0), (0.5, 1.0))
    )
    assert bold > 2 * careful


def test_half_of_the_versions_do_harm_and_a_third_are_better_whatever_the_seed() -> None:
    for seed in range(5):
        value = changes(600, seed).value(Traffic())
        assert float((value < 0).double().mean()) == pytest.approx(1 / 2)
        assert float((value > 0).double().mean()) == pytest.approx(1 / 3)


def test_courses_out_of_range_are_refused() -> None:
    for broken in ({"stages": (0.5, 0.1, 1.0)}, {"stages": (0.1, 0.5)}, {"users": 0}):
        with pytest.raises(ValueError, match="out of range"):
            Course(**broken)
