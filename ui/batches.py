"""Gathers requests that come at the same time into batches, and answers each batch at once.

An idle worker takes what is there without waiting, so a request that is alone waits for nobody;
what arrives while a batch is being answered makes up the next one. With ``wait`` a worker gives
others that long to come, but only up to as many as came together the last time. A request that has
been cancelled is left out, one error is its own request's alone, and who would have to wait behind
too many is told to come again.

``ask`` belongs to any event loop, the answers are made in threads of their own. They are delivered
with one call for all requests of a loop: waking it once for each would cost more than the answers.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from agenticrs.agents.work_at_exit import closed_at_exit, started
from agenticrs.platform.errors import AgenticRSError

A = TypeVar("A")
B = TypeVar("B")
IDLE_SECONDS = 10.0
"""After which a worker without work ends; the next request starts another."""


class Overloaded(AgenticRSError):
    """Too many requests wait already: the caller should come again."""


@dataclass(frozen=True)
class BatchLimits:
    """How much is gathered, for how long, by how many."""

    size: int = 64
    """Requests in a batch."""
    wait: float = 0.0
    """Seconds that the first of them waits for others."""
    workers: int = 1
    """Batches that are answered at the same time."""
    waiting: int = 1024
    """Requests in the queue."""


@dataclass
class _Waiting(Generic[A]):
    asked: A
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Batches(Generic[A, B]):
    """``answer`` gets the requests of a batch and returns an answer or an error for each."""

    def __init__(
        self,
        answer: Callable[[Sequence[A]], Sequence[B | Exception]],
        limits: BatchLimits | None = None,
    ) -> None:
        self._answer = answer
        self._limits = limits or BatchLimits()
        self._queue: deque[_Waiting[A]] = deque()
        self._arrived = threading.Condition()
        self._threads = self._idle = 0
        self._together = 1
        """How many came together the last time."""
        self._wanted = 0
        """How many a worker that gathers waits for; 0 = nobody gathers."""
        self._closed = False
        closed_at_exit(self)

    async def ask(self, asked: A) -> B:
        """The answer; raises the request's error, or Overloaded."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[B] = loop.create_future()
        self._enter(_Waiting(asked, loop, future))
        return await future

    def close(self) -> None:
        """Take no more requests; those that wait are answered. Safe to repeat."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

    def _enter(self, one: _Waiting[A]) -> None:
        with self._arrived:
            if self._closed or len(self._queue) >= self._limits.waiting:
                raise Overloaded(
                    "this server is stopping" if self._closed else "too many requests wait already",
                    hint="come again in a second",
                )
            self._queue.append(one)
            if self._wanted:
                if len(self._queue) >= self._wanted:
                    self._arrived.notify_all()
            elif self._idle:
                self._arrived.notify()
            elif self._threads < self._limits.workers:
                self._threads += 1
                started(threading.Thread(target=self._work, name="batches", daemon=True))

    def _work(self) -> None:
        while batch := self._gathered():
            self._deliver(batch, self._answers([one.asked for one in batch]))

    def _gathered(self) -> list[_Waiting[A]]:
        """The next batch; nothing when this worker shall end."""
        with self._arrived:
            while not self._queue:
                self._idle += 1
                came = not self._closed and self._arrived.wait(IDLE_SECONDS)
                self._idle -= 1
                if not came and not self._queue:
                    self._threads -= 1
                    return []
            if self._limits.wait and self._together > 1 and not self._wanted:
                self._wait_for_more()
            batch: list[_Waiting[A]] = []
            while self._queue and len(batch) < self._limits.size:
                one = self._queue.popleft()
                if not one.future.cancelled():
                    batch.append(one)
            self._together = len(batch)
        return batch or self._gathered()

    def _wait_for_more(self) -> None:
        self._wanted = min(self._together, self._limits.size)
        deadline = time.monotonic() + self._limits.wait
        while len(self._queue) < self._wanted and not self._closed:
            left = deadline - time.monotonic()
            if left <= 0 or not self._arrived.wait(left):
                break
        self._wanted = 0

    def _answers(self, asked: Sequence[A]) -> Sequence[B | Exception]:
        try:
            return self._answer(asked)
        except Exception as error:  # it belongs to those who asked
            return [error] * len(asked)

    def _deliver(self, batch: Sequence[_Waiting[A]], answers: Sequence[B | Exception]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[B], B | Exception]]] = {}
        for one, answer in zip(batch, answers, strict=True):
            by_loop.setdefault(one.loop, []).append((one.future, answer))
        for loop, theirs in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, theirs)


def _settle(answers: Sequence[tuple[asyncio.Future[B], B | Exception]]) -> None:
    for future, answer in answers:
        if future.done():  # cancelled meanwhile
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
