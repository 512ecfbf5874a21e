"""Slows down guessing: failed logins are counted by name and address over the last minutes.

They lie in the registry (``registry/failed_logins.py``): replicas count together, and a restart
forgets nothing. A failure counts once it has been looked at: of tries at the very same moment a few
more get through.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Engine

from agenticrs.platform.database import session_scope
from agenticrs.registry import failed_logins
from agenticrs.registry.failed_logins import WINDOW
from agenticrs.registry.tables import FailedLoginRow, utc_now

MOST_PER_NAME_AND_ADDRESS = 5
MOST_PER_ADDRESS = 20
MOST_PER_NAME = 50
"""Large, so that a stranger cannot easily lock somebody out, small against guessing."""


class LoginAttempts:
    """Counts in the database; ``key`` hides what was typed as a name, ``clock`` tells the time.

    Tokens have no name: they are counted by address alone.
    """

    def __init__(self, engine: Engine, key: bytes, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._key = key
        self._clock = clock

    def wait(self, name: str, address: str) -> int:
        """Seconds until somebody may try again; 0 = now."""
        now, hidden = self._clock(), self._hidden(name)
        with session_scope(self._engine) as session:
            rows = failed_logins.recent(session, hidden, address, now)
        ends = (failures[most - 1].at + WINDOW for failures, most in _limits(rows, hidden, address))
        return max((int((end - now).total_seconds()) + 1 for end in ends), default=0)

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        with session_scope(self._engine) as session:
            failed_logins.record(session, self._hidden(name), address, self._clock())

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of this name from this address."""
        hidden, now = self._hidden(name), self._clock()
        with session_scope(self._engine) as session:
            # Looked for first: nearly always there is none, and a delete would lock SQLite's file.
            rows = failed_logins.recent(session, hidden, address, now)
            if any((row.name, row.address) == (hidden, address) for row in rows):
                failed_logins.forget(session, hidden, address)

    def _hidden(self, name: str) -> str:
        if not name:
            return ""
        return hmac.new(self._key, f"name:{name}".encode(), hashlib.sha256).hexdigest()


def _limits(
    rows: Sequence[FailedLoginRow], name: str, address: str
) -> Iterator[tuple[list[FailedLoginRow], int]]:
    """The limits that are reached: failures, newest first, and how many of them are too many."""
    here = [row for row in rows if row.address == address]
    named = [row for row in rows if row.name == name]
    for failures, most in (
        ([row for row in here if row.name == name], MOST_PER_NAME_AND_ADDRESS),
        (here, MOST_PER_ADDRESS),
        (named if name else [], MOST_PER_NAME),
    ):
        if len(failures) >= most:
            yield failures, most
