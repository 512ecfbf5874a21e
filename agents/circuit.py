"""A circuit breaker for one node: after repeated failures it is left alone for a while.

Closed, every call passes. After ``failures`` calls in a row that failed or were late it opens: for
``seconds`` calls are refused at once, so that a broken agent costs its own candidates and no time.
Then it is half open: one call is tried. If that succeeds the circuit closes; if not it stays open
for twice as long as before, at most a minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agenticrs.platform.errors import AgentError

State = Literal["closed", "open", "half open"]
LONGEST_REST = 60.0
"""Seconds."""


class CircuitOpen(AgentError):
    """The call was not made: too many before it have failed."""


@dataclass(frozen=True)
class CircuitRules:
    """When a circuit opens, and for how many seconds the first time."""

    failures: int = 5
    seconds: float = 5.0


@dataclass(frozen=True)
class CircuitView:
    """How a node's circuit stands; ``error`` is the last call's that failed, empty when closed."""

    node: str
    agent: str
    state: State
    error: str = ""


class Circuit:
    """The breaker of one node. Safe in several threads; ``clock`` gives monotonic seconds."""

    def __init__(self, rules: CircuitRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._rest = rules.seconds
        self._opened_until: float | None = None
        self._probing = False
        self.error = ""

    @property
    def state(self) -> State:
        """Open until the rest is over, then half open until a call has succeeded."""
        until = self._opened_until
        if until is None:
            return "closed"
        return "open" if self._clock() < until else "half open"

    def enter(self) -> None:
        """Ask to make a call; say how it ended. Raises CircuitOpen when it must not be made."""
        if self._opened_until is None:
            return
        with self._lock:
            if self._opened_until is None:
                return
            if self._clock() < self._opened_until or self._probing:
                raise CircuitOpen(f"resting after failures: {self.error}")
            self._probing = True

    def succeeded(self) -> None:
        """The call has answered."""
        if not self._in_a_row and self._opened_until is None:
            return
        with self._lock:
            self._in_a_row, self._rest = 0, self._rules.seconds
            self._opened_until, self._probing, self.error = None, False, ""

    def failed(self, error: str) -> None:
        """The call has raised, or was late."""
        with self._lock:
            self.error = error
            self._in_a_row += 1
            again = self._probing
            if again:
                self._rest = min(2 * self._rest, LONGEST_REST)
            if again or self._in_a_row >= self._rules.failures:
                self._opened_until = self._clock() + self._rest
                self._probing = False
