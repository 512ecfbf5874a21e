"""Who makes an agent raise is found with few calls, and everybody else gets the answer."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from agenticrs.agents.isolation import Isolated, isolate

FIRST = ValueError("the whole batch")


def tried(n: int, bad: set[int], late: int | None = None) -> tuple[Isolated[list[int]], int]:
    """Ask about n rows of which some make the agent raise; also how often it was asked."""
    calls = 0

    def call(rows: range) -> list[int]:
        nonlocal calls
        calls += 1
        if late in rows:
            raise TimeoutError("late")
        if bad & set(rows):
            raise ValueError(f"cannot read {sorted(bad & set(rows))}")
        return list(rows)

    return isolate(call, n, FIRST), calls


@given(st.integers(2, 200), st.data())
def test_one_culprit_is_found_and_the_others_are_answered(n: int, data: st.DataObject) -> None:
    culprit = data.draw(st.integers(0, n - 1))
    found, calls = tried(n, {culprit})
    assert list(found.failed) == [culprit]
    answered = sorted(row for rows, answer in found.parts for row in answer)
    assert answered == [row for row in range(n) if row != culprit]
    assert all(list(rows) == answer for rows, answer in found.parts)
    assert calls <= 2 * math.ceil(math.log2(n))
    assert str(found.error) == f"cannot read [{culprit}]"


def test_an_agent_that_is_broken_is_asked_three_times_in_all() -> None:
    found, calls = tried(64, set(range(64)))
    assert (list(found.failed), calls, found.parts) == (list(range(64)), 2, ())


def test_one_row_is_not_asked_again() -> None:
    found, calls = tried(1, {0})
    assert (list(found.failed), calls, found.error) == ([0], 0, FIRST)


def test_an_agent_that_answers_the_second_time_has_answered_everybody() -> None:
    found, _ = tried(5, set())
    assert len(found.failed) == 0
    assert sorted(row for rows, _ in found.parts for row in rows) == list(range(5))


def test_when_it_is_late_nobody_else_is_asked() -> None:
    found, calls = tried(8, {1}, late=6)
    assert (calls, list(found.failed)) == (2, list(range(8)))
    found, calls = tried(8, {1}, late=0)
    assert (calls, list(found.failed)) == (1, list(range(8)))
    found, _ = tried(8, set(), late=6)
    assert list(found.failed) == [4, 5, 6, 7]
    assert isinstance(found.error, TimeoutError)


@given(st.integers(2, 64), st.data())
def test_nobody_is_forgotten_and_nobody_answered_twice(n: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, n - 1)))
    late = data.draw(st.none() | st.integers(0, n - 1))
    found, _ = tried(n, bad, late)
    rows = [row for part, _ in found.parts for row in part]
    assert sorted([*rows, *found.failed]) == list(range(n))
    assert not bad & set(rows)
