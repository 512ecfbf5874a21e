"""Admission reports: every check is told, advice refuses nobody, nobody is measured unfairly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from agenticrs.agents import catalogue
from agenticrs.agents.probe import AgentProbe
from agenticrs.registry.admission import AdmissionReport, Check, admit
from agenticrs.registry.spec import (
    AgentSpec,
    Choice,
    ClosedLoop,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
    Parameter,
    PerInput,
    Port,
)

SIZE = FloatRange(name="size", low=0.5, high=4.0)


@dataclass
class Bench:
    """A probe with given configs and rewards that remembers what it was asked."""

    default: dict[str, Any] = field(default_factory=lambda: {"size": 1.0})
    other: dict[str, Any] = field(default_factory=lambda: {"size": 2.0})
    rewards: tuple[float, ...] = (0.1, 0.2, 0.1)
    asked: list[tuple[dict[str, Any], int]] = field(default_factory=list)

    def inner_reward(self, config: dict[str, Any], seed: int) -> float:
        self.asked.append((config, seed))
        return self.rewards[len(self.asked) - 1]

    def default_config(self) -> dict[str, Any]:
        return self.default

    def other_config(self) -> dict[str, Any]:
        return self.other


def spec(*parameters: Parameter, **changed: Any) -> AgentSpec:
    given: dict[str, Any] = {
        "name": "toy",
        "kind": "model",
        "role": "retrieval",
        "summary": "A toy.",
        "loop": ClosedLoop(
            inputs=(Port.USERS,), output=Port.CANDIDATES, executor="runtime", feedback="click"
        ),
        "inner_reward": InnerReward(metric="ndcg"),
        "space": DecisionSpace(parameters=parameters),
    }
    return AgentSpec(**{**given, **changed})


def check(report: AdmissionReport, name: str) -> Check:
    (found,) = (check for check in report.checks if check.name == name)
    return found


def test_both_candidates_are_measured_with_the_same_seed_and_the_first_once_more() -> None:
    bench = Bench()
    report = admit(spec(SIZE), bench)
    assert report.admitted
    assert [config for config, _ in bench.asked] == [bench.default, bench.other, bench.default]
    assert len({seed for _, seed in bench.asked}) == 1
    assert "0.1000 and 0.2000" in check(report, "independent evaluability").detail


def test_two_candidates_that_are_equally_good_are_still_comparable() -> None:
    assert admit(spec(SIZE), Bench(rewards=(0.0, 0.0, 0.0))).admitted


@pytest.mark.parametrize("worst", [float("inf"), float("-inf"), float("nan")])
def test_a_default_whose_reward_is_no_number_is_called_so(worst: float) -> None:
    report = admit(spec(SIZE), Bench(rewards=(worst, 0.2, worst)))
    assert not report.admitted
    assert "not finite" in check(report, "independent evaluability").detail


def test_without_a_second_candidate_nothing_is_trained() -> None:
    bench = Bench(other={"size": 1.0})
    report = admit(spec(SIZE), bench)
    assert not report.admitted
    assert "no second candidate" in check(report, "independent evaluability").detail
    assert bench.asked == []


@pytest.mark.parametrize("executor", ["", "  \n"])
def test_an_output_on_which_nobody_acts_is_refused(executor: str) -> None:
    loop = spec().loop.model_copy(update={"executor": executor})
    report = admit(spec(SIZE, loop=loop), Bench())
    assert not report.admitted
    assert "name who acts" in check(report, "closed loop").detail


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (DecisionSpace(parameters=(SIZE,), methods=()), "no method"),
        (DecisionSpace(parameters=(SIZE, SIZE)), "declared twice: size, size"),
        (DecisionSpace(), "nothing can evolve"),
        (DecisionSpace(parameters=(Choice(name="size", values=(1.0, 1.0)),)), "nothing can evolve"),
        (DecisionSpace(parameters=(IntRange(name="size", low=0, high=9, log=True),)), "log scale"),
        (DecisionSpace(parameters=(SIZE, Choice(name="size", values=(1.0,)))), "declared twice"),
    ],
)
def test_a_space_in_which_nothing_could_be_searched_is_refused(
    space: DecisionSpace, says: str
) -> None:
    report = admit(spec(space=space), Bench())
    assert not report.admitted
    assert says in check(report, "evolvable decision space").detail


@pytest.mark.parametrize(
    ("parameter", "default"),
    [
        (SIZE, 0.5),
        (SIZE, 4.0),
        (IntRange(name="size", low=1, high=2), 2),
        (Choice(name="size", values=("a", "b")), "b"),
        (PerInput(name="size", low=0, high=1), {}),
        (PerInput(name="size", low=0, high=1), {"bpr": 0.0, "ease": 1.0}),
        (FloatRange(name="size", low=1e-9, high=1, log=True), 1e-9),
    ],
)
def test_a_default_on_the_edge_of_the_space_lies_inside(
    parameter: Parameter, default: object
) -> None:
    report = admit(spec(parameter), Bench({"size": default}, {"size": "another"}))
    assert check(report, "evolvable decision space").passed, report
    assert report.admitted


def test_every_check_is_made_whatever_failed_before() -> None:
    loop = spec().loop.model_copy(update={"executor": "", "feedback": "smile"})
    report = admit(spec(loop=loop), Bench(rewards=(0.1, 0.2, 0.3)))
    assert [c.name for c in report.checks if not c.passed] == [
        "closed loop",
        "independent evaluability",
        "evolvable decision space",
        "own version",
    ]
    assert not report.admitted


def test_advice_alone_refuses_nobody() -> None:
    assert check(admit(spec(), Bench()), "own version").advisory
    functional = admit(spec(kind="functional"), Bench())
    assert check(functional, "own version").passed
    passed = Check(name="a", passed=True, detail="")
    advice = Check(name="b", passed=False, detail="too fine", advisory=True)
    assert [c.advisory for c in (passed, advice)] == [False, True]


def test_a_probe_that_cannot_even_start_fails_each_check_that_needs_it() -> None:
    class Broken(Bench):
        def default_config(self) -> dict[str, Any]:
            raise KeyError("size" * 1000)

    report = admit(spec(SIZE), Broken())
    failed = [c for c in report.checks if not c.passed]
    assert [c.name for c in failed] == ["independent evaluability", "evolvable decision space"]
    for one in failed:
        assert one.detail.startswith("KeyError")
        assert len(one.detail) == 1000, "an error may be long, a report may not"


def test_a_person_who_stops_an_admission_is_no_failed_check() -> None:
    class Stopped(Bench):
        def inner_reward(self, config: dict[str, Any], seed: int) -> float:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        admit(spec(SIZE), Stopped())


def test_a_report_is_read_back_as_it_was_kept_and_knows_no_other_words() -> None:
    report = admit(spec(SIZE), Bench())
    assert AdmissionReport.model_validate_json(report.model_dump_json()) == report
    with pytest.raises(ValidationError):
        Check.model_validate({"name": "n", "passed": True, "detail": "", "weight": 1})


def test_an_installed_agent_with_a_space_that_lies_elsewhere_becomes_a_tool() -> None:
    kind = catalogue.load_agents()["ease"]
    report = admit(kind.spec, AgentProbe(kind))
    assert report.admitted, report
    (first, *rest) = kind.spec.space.parameters
    assert isinstance(first, FloatRange)
    away = first.model_copy(update={"low": first.high * 10, "high": first.high * 20})
    moved = kind.spec.model_copy(update={"space": DecisionSpace(parameters=(away, *rest))})
    refused = admit(moved, AgentProbe(kind))
    assert not refused.admitted
    assert first.name in check(refused, "evolvable decision space").detail
