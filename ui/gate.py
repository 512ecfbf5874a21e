"""Lets so many in at a time, and asks the others to come again instead of letting them queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from agenticrs.ui.batches import Overloaded


class Gate:
    """At most ``room`` blocks at a time. Safe in several threads and event loops."""

    def __init__(self, room: int) -> None:
        self._free = threading.BoundedSemaphore(room)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """One of them; raises Overloaded when there is no room."""
        if not self._free.acquire(blocking=False):
            raise Overloaded("too many requests are being written", hint="come again in a second")
        try:
            yield
        finally:
            self._free.release()
