"""Threads that are inside torch or faiss when the process wants to end.

Python ends daemon threads by unwinding them as soon as they touch the interpreter, and C++ frames
on the way turn that into an abort of the whole process. So the end waits until they are out.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_WAIT = 10.0
"""Seconds after which the process ends although somebody is still at work."""

_changed = threading.Condition()
_at_work = 0


@contextmanager
def at_work() -> Iterator[None]:
    """While inside, the end of the process waits (``LONGEST_WAIT`` seconds at most)."""
    global _at_work  # noqa: PLW0603  there is one end of one process
    with _changed:
        _at_work += 1
    try:
        yield
    finally:
        with _changed:
            _at_work -= 1
            _changed.notify_all()


@atexit.register
def _wait() -> None:
    with _changed:
        _changed.wait_for(lambda: _at_work == 0, LONGEST_WAIT)
