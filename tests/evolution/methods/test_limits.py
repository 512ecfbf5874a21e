"""Constraints: what breaks one is told as a failure to whoever knows of none."""

from __future__ import annotations

from agenticrs.evolution.methods.limits import broken, held
from agenticrs.evolution.methods.method import Tried
from agenticrs.registry.spec import Limit


def test_a_limit_that_nobody_measured_counts_as_broken() -> None:
    limits = (Limit(metric="parameters", most=10.0), Limit(metric="unknown", least=0.5))
    assert broken(limits[:1], {"parameters": 10.0}) == ""
    assert broken(limits, {"parameters": 11.0}) == ("parameters 11 > 10, unknown was not measured")


def test_a_method_that_knows_no_limits_is_told_of_a_failure() -> None:
    tried = [Tried(0, {}, "done", 0.9, metrics={"parameters": 11.0}), Tried(1, {}, "open")]
    told, still_open = held(tried, (Limit(metric="parameters", most=10.0),))
    assert (told.state, told.reward) == ("failed", None)
    assert "parameters 11 > 10" in told.error
    assert still_open == tried[1]
