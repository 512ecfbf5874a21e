"""Calls with a time limit: the caller goes on, the overdue call is left behind.

Python cannot stop a thread, so a call that hangs keeps its thread. Threads are therefore daemons
(they hold up the end of the process for some seconds at most), a thread that was left behind is
replaced, and a caller that keeps hanging is refused before it can collect threads without end.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

import torch

from agenticrs.agents.work_at_exit import closed_at_exit, started

T = TypeVar("T")
_Work = Callable[[], None]
_MOST_OVERDUE = 4
_MOST_IDLE = 8


class TimedCalls:
    """Runs calls in threads that are kept for the next call (torch sets up each thread once)."""

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[_Work | None]] = []
        self._lock = threading.Lock()
        self._overdue: Counter[str] = Counter()
        self._closed = False
        closed_at_exit(self)

    def call(self, name: str, function: Callable[[], T], seconds: float) -> T:
        """What ``function`` returns or raises.

        Raises TimeoutError when it takes longer, or when too many earlier calls with this
        ``name`` are still hanging.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._overdue[name] >= _MOST_OVERDUE:
                raise TimeoutError(f"{_MOST_OVERDUE} earlier calls have not come back yet")
            queue = self._idle.pop() if self._idle else None
        if queue is None:
            queue = SimpleQueue()
            started(threading.Thread(target=self._serve, args=(queue,), daemon=True))
        overdue = threading.Event()
        queue.put(lambda: self._run(name, function, future, overdue))
        try:
            return future.result(timeout=seconds)
        except TimeoutError:
            with self._lock:
                if future.done():  # it came back, or raised a TimeoutError of its own
                    return future.result()
                overdue.set()
                self._overdue[name] += 1
            raise TimeoutError(f"no answer within {seconds * 1000:.0f} ms") from None

    def _run(
        self, name: str, function: Callable[[], T], future: Future[T], overdue: threading.Event
    ) -> None:
        error: BaseException | None = None
        try:
            with torch.inference_mode():
                value = function()
        except BaseException as raised:  # handed to the caller, whatever it is
            error = raised
        with self._lock:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)
            if overdue.is_set():
                self._overdue[name] -= 1

    def _serve(self, queue: SimpleQueue[_Work | None]) -> None:
        while (work := queue.get()) is not None:
            work()
            with self._lock:
                if self._closed or len(self._idle) >= _MOST_IDLE:
                    return
                self._idle.append(queue)

    def close(self) -> None:
        """Let idle threads end, and others when their call is done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for queue in idle:
            queue.put(None)
