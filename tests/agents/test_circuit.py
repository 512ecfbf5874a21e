"""A circuit opens after failures in a row, tries once after its rest, and closes by success."""

from __future__ import annotations

import pytest

from agenticrs.agents.circuit import LONGEST_REST, Circuit, CircuitOpen, CircuitRules


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(CircuitRules(failures=3, seconds=10), clock)


def state(circuit: Circuit) -> str:
    """As it is now: for mypy a property stays what it was found to be."""
    return circuit.state


def fail(circuit: Circuit, times: int) -> None:
    for _ in range(times):
        circuit.enter()
        circuit.failed("boom")


def test_failures_open_it_only_when_they_come_in_a_row(circuit: Circuit) -> None:
    fail(circuit, 2)
    circuit.enter()
    circuit.succeeded()
    fail(circuit, 2)
    assert state(circuit) == "closed"
    fail(circuit, 1)
    assert state(circuit) == "open"
    with pytest.raises(CircuitOpen, match="boom"):
        circuit.enter()


def test_after_its_rest_one_call_is_tried_and_success_closes_it(
    circuit: Circuit, clock: Clock
) -> None:
    fail(circuit, 3)
    clock.now += 10
    assert state(circuit) == "half open"
    circuit.enter()
    with pytest.raises(CircuitOpen):
        circuit.enter()
    circuit.succeeded()
    assert (state(circuit), circuit.error) == ("closed", "")
    fail(circuit, 2)
    assert state(circuit) == "closed", "what was before is forgotten"


def test_each_failed_try_doubles_the_rest_up_to_a_minute(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    for rest in (10, 20, 40, LONGEST_REST, LONGEST_REST):
        clock.now += rest - 1
        assert state(circuit) == "open"
        clock.now += 1
        fail(circuit, 1)
    clock.now += LONGEST_REST
    circuit.enter()
    circuit.succeeded()
    fail(circuit, 3)
    clock.now += 10
    assert state(circuit) == "half open", "a success makes the rest short again"


def test_calls_that_were_under_way_when_it_opened_do_not_matter(
    circuit: Circuit, clock: Clock
) -> None:
    circuit.enter()
    fail(circuit, 3)
    circuit.failed("late")
    assert state(circuit) == "open"
    circuit.succeeded()
    assert state(circuit) == "closed", "it has answered after all"
