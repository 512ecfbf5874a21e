"""Slows down guessing: failed logins are counted by name and address over the last minutes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW = 300.0
"""Seconds for which a failure counts."""
MOST_PER_NAME_AND_ADDRESS = 5
MOST_PER_ADDRESS = 20
MOST_PER_NAME = 50
"""Large, so that a stranger cannot easily lock somebody out, small against guessing."""


class LoginAttempts:
    """Failures in memory. ``clock`` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[tuple[str, str], deque[float]] = {}

    def wait(self, name: str, address: str) -> int:
        """Seconds until somebody may try again; 0 = now."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            waits = [
                self._failures[key][-most] + WINDOW - now
                for key, most in _limits(name, address)
                if len(self._failures.get(key, ())) >= most
            ]
        return max((int(wait) + 1 for wait in waits), default=0)

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            for key, most in _limits(name, address):
                self._failures.setdefault(key, deque(maxlen=most)).append(now)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of this name from this address."""
        with self._lock:
            self._failures.pop((name, address), None)

    def _forget(self, now: float) -> None:
        old = [key for key, times in self._failures.items() if times[-1] + WINDOW <= now]
        for key in old:
            del self._failures[key]


def _limits(name: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
    return (
        ((name, address), MOST_PER_NAME_AND_ADDRESS),
        (("", address), MOST_PER_ADDRESS),
        ((name, ""), MOST_PER_NAME),
    )
