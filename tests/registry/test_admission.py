"""Admission: what each check refuses, by name."""

from __future__ import annotations

from typing import Any

import pytest

from agenticrs.registry.admission import AdmissionReport, admit
from agenticrs.registry.spec import (
    AgentSpec,
    Choice,
    ClosedLoop,
    DecisionSpace,
    FloatRange,
    InnerReward,
    Parameter,
    PerInput,
    Port,
)


class Bench:
    """A probe with given configs and a reward that is their size."""

    def __init__(self, default: dict[str, Any], other: dict[str, Any] | None = None) -> None:
        self.default = default
        self.other = {"size": 2.0} if other is None else other
        self.drift = 0.0
        self.calls = 0

    def inner_reward(self, config: dict[str, Any], seed: int) -> float:
        self.calls += 1
        return float(config.get("size", 0.0)) + self.drift * self.calls

    def default_config(self) -> dict[str, Any]:
        return self.default

    def other_config(self) -> dict[str, Any]:
        return self.other


def spec(*parameters: Parameter, feedback: str = "click", executor: str = "runtime") -> AgentSpec:
    return AgentSpec(
        name="toy",
        kind="model",
        role="retrieval",
        summary="A toy.",
        loop=ClosedLoop(
            inputs=(Port.USERS,), output=Port.CANDIDATES, executor=executor, feedback=feedback
        ),
        inner_reward=InnerReward(metric="ndcg"),
        space=DecisionSpace(parameters=parameters),
    )


SIZE = FloatRange(name="size", low=0.5, high=4.0)


def refusals(report: AdmissionReport) -> list[str]:
    return [check.detail for check in report.checks if not check.passed and not check.advisory]


def test_an_agent_that_keeps_all_constraints_is_admitted() -> None:
    report = admit(spec(SIZE), Bench({"size": 1.0}))
    assert report.admitted
    assert [check.name for check in report.checks] == [
        "closed loop",
        "independent evaluability",
        "evolvable decision space",
        "own version",
    ]


@pytest.mark.parametrize(
    ("parameter", "default", "says"),
    [
        (FloatRange(name="size", low=1, high=1), 1.0, "low 1.0 must be below high 1.0"),
        (FloatRange(name="size", low=2, high=1), 1.0, "low 2.0 must be below high 1.0"),
        (FloatRange(name="size", low=0, high=1, log=True), 1.0, "a log scale needs low > 0"),
        (SIZE, 9.0, "the default 9.0 lies outside the space"),
        (Choice(name="size", values=("a", "b")), "c", "'c' lies outside"),
        (Choice(name="size", values=("a",)), "a", "no parameter has two values"),
        (PerInput(name="size", low=0, high=1), {"bpr": 2.0}, "lies outside the space"),
        (FloatRange(name="other", low=0, high=1), 1.0, "'other' is no field of the config"),
    ],
)
def test_a_decision_space_that_contradicts_itself_is_refused(
    parameter: Parameter, default: Any, says: str
) -> None:
    report = admit(spec(parameter), Bench({"size": default}, {"size": 0.5}))
    assert not report.admitted
    assert any(says in detail for detail in refusals(report))


def test_rewards_that_do_not_repeat_are_refused() -> None:
    bench = Bench({"size": 1.0})
    bench.drift = 0.1
    (detail,) = refusals(admit(spec(SIZE), bench))
    assert "the same candidate and seed gave" in detail


def test_rewards_that_are_not_numbers_are_refused() -> None:
    (detail,) = refusals(admit(spec(SIZE), Bench({"size": 1.0}, {"size": float("nan")})))
    assert "not finite" in detail


def test_a_signal_that_nobody_logs_is_refused() -> None:
    report = admit(spec(SIZE, feedback="smile"), Bench({"size": 1.0}))
    assert "'smile' is no logged behaviour" in refusals(report)[0]


def test_an_agent_that_raises_is_refused_with_what_it_said() -> None:
    class Broken(Bench):
        def inner_reward(self, config: dict[str, Any], seed: int) -> float:
            raise ZeroDivisionError("no users")

    report = admit(spec(SIZE), Broken({"size": 1.0}))
    assert refusals(report) == ["ZeroDivisionError: no users"]
