from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from agenticrs.agents import timed_calls
from agenticrs.agents.timed_calls import TimedCalls

LONG, SHORT = 30.0, 0.02


def boom() -> None:
    raise KeyError("boom")


def late() -> None:
    raise TimeoutError("the agent's own")


def test_values_and_errors_come_back() -> None:
    calls = TimedCalls()
    assert calls.call("a", lambda: 3, LONG) == 3
    with pytest.raises(KeyError, match="boom"):
        calls.call("a", boom, LONG)
    with pytest.raises(TimeoutError, match="the agent's own"):
        calls.call("a", late, LONG)


def test_calls_run_without_gradients_in_a_thread_that_is_used_again() -> None:
    calls = TimedCalls()
    assert calls.call("a", torch.is_inference_mode_enabled, LONG)
    first = calls.call("a", threading.get_ident, LONG)
    # A thread becomes free an instant after its answer is out.
    assert first in {calls.call("b", threading.get_ident, LONG) for _ in range(50)}


def test_a_late_call_is_left_behind_and_others_go_on() -> None:
    calls, gate = TimedCalls(), threading.Event()
    with pytest.raises(TimeoutError, match="no answer within 20 ms"):
        calls.call("slow", gate.wait, SHORT)
    assert calls.call("other", lambda: 1, LONG) == 1
    gate.set()


def test_a_caller_that_keeps_hanging_is_refused_until_it_comes_back() -> None:
    calls, gate = TimedCalls(), threading.Event()
    for _ in range(timed_calls._MOST_OVERDUE):
        with pytest.raises(TimeoutError, match="no answer"):
            calls.call("slow", gate.wait, SHORT)
    with pytest.raises(TimeoutError, match="have not come back"):
        calls.call("slow", lambda: 1, LONG)
    assert calls.call("other", lambda: 1, LONG) == 1
    gate.set()
    while calls._overdue["slow"]:  # until the overdue calls have been counted down
        pass
    assert calls.call("slow", lambda: 1, LONG) == 1


def test_many_callers_get_their_own_answers() -> None:
    calls = TimedCalls()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: calls.call("a", lambda: n * n, LONG), range(300)))
    assert answers == [n * n for n in range(300)]
    calls.close()
    assert calls.call("a", lambda: 1, LONG) == 1
