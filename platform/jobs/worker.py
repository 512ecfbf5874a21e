"""What happens inside a worker process: one call, its progress, its share of the machine.

Knows nothing of Ray: ``post`` is whatever carries a word to the board without blocking.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agenticrs.platform.jobs.call import Raised, call, describe

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_POST_INTERVAL = 0.25


@dataclass(frozen=True)
class Ticket:
    """One attempt at one job: its own unique id, the job's key, and what it was given."""

    id: str
    key: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Returned:
    """The function's value and its own wall time in seconds."""

    value: Any
    seconds: float


@dataclass(frozen=True)
class RaisedAfter:
    """The function's error and its own wall time in seconds."""

    raised: Raised
    seconds: float


@dataclass(frozen=True)
class Note:
    """What the board knows of an attempt; ``age`` is the seconds since it began."""

    age: float
    fraction: float
    text: str


Post = Callable[[str, float, str], None]
"""Tells the board how far an attempt (by its id) is; the first call marks its start."""


def execute(
    function: Callable[..., Any], ticket: Ticket, post: Post, args: tuple[Any, ...]
) -> Returned | RaisedAfter:
    """Run the function here; an error of its own is a result, only a dead worker is not."""
    _take_share(ticket)
    post(ticket.id, 0.0, "")
    begin = time.perf_counter()
    try:
        value = call(function, args, _rate_limited(ticket.id, post))
    except (Exception, SystemExit) as error:  # a job's failure is its outcome
        return RaisedAfter(describe(error), time.perf_counter() - begin)
    finally:
        _give_gpu_back(ticket)
    return Returned(value, time.perf_counter() - begin)


class Board:
    """Where workers leave word and the runner reads it; lives in a process of its own.

    Ages are measured by this process's clock alone, so clocks of nodes may differ.
    """

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._words: dict[str, tuple[float, str]] = {}

    def post(self, attempt: str, fraction: float, text: str) -> None:
        """Keep the latest word of an attempt; the first one starts its clock."""
        self._begun.setdefault(attempt, time.monotonic())
        self._words[attempt] = (fraction, text)

    def read(self) -> dict[str, Note]:
        """Every attempt that has begun and is not forgotten."""
        now = time.monotonic()
        return {
            attempt: Note(now - begun, *self._words[attempt])
            for attempt, begun in self._begun.items()
        }

    def forget(self, attempt: str) -> None:
        """The attempt has ended."""
        self._begun.pop(attempt, None)
        self._words.pop(attempt, None)


def _take_share(ticket: Ticket) -> None:
    # The variables reach libraries that the function loads; a torch that is loaded must be told.
    threads = max(1, int(ticket.cpus))
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    if ticket.gpus <= 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a job without a share must not see the GPU
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _give_gpu_back(ticket: Ticket) -> None:
    # torch keeps freed memory for itself; the next job may run in another worker.
    torch = sys.modules.get("torch")
    if ticket.gpus > 0 and torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _rate_limited(attempt: str, post: Post) -> Callable[[float, str], None]:
    last = -_POST_INTERVAL

    def report(fraction: float, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _POST_INTERVAL:
            last = now
            post(attempt, min(1.0, max(0.0, float(fraction))), str(text))

    return report
