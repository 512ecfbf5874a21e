"""Threads that have been inside torch or faiss when the process wants to end.

Python unwinds daemon threads as soon as they touch the interpreter once it is ending, and C++
frames or thread-local objects of torch on the way turn that into an abort of the whole process. So
before the interpreter ends, such threads are told to end and waited for.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from typing import Protocol

LONGEST_WAIT = 10.0
"""Seconds after which the process ends although somebody is still at work."""


class Closing(Protocol):
    """Something whose threads end when it is closed."""

    def close(self) -> None:
        """Let them end."""
        ...


_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_closing: weakref.WeakSet[Closing] = weakref.WeakSet()


def started(thread: threading.Thread) -> threading.Thread:
    """Start a daemon thread that the end of the process waits for."""
    _threads.add(thread)
    thread.start()
    return thread


def closed_at_exit(owner: Closing) -> None:
    """Have it closed before threads are waited for, if it is still there."""
    _closing.add(owner)


@atexit.register
def _end_threads() -> None:
    for owner in list(_closing):
        owner.close()
    deadline = time.monotonic() + LONGEST_WAIT
    for thread in list(_threads):
        thread.join(max(0.0, deadline - time.monotonic()))
