"""The port for work that runs elsewhere: what is asked, and how it ended.

A job is a module-level function and its arguments. A job that fails is an outcome with a cause,
never an exception in the caller. The module knows nothing of Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Cause = Literal["error", "lost", "timeout", "cancelled", "out_of_memory"]
"""error: the function raised (never retried); lost: the worker died more often than retried."""


@dataclass(frozen=True)
class Resources:
    """What one job needs. ``gpus`` may be a fraction; without a GPU in the cluster it becomes 0."""

    cpus: float = 1.0
    gpus: float = 0.0
    time_limit: float = 600.0
    """Seconds from the start of the job until its worker is killed."""
    retries: int = 2
    """How often a job is started again after its worker was lost."""


@dataclass(frozen=True)
class Job:
    """One call of ``function(*args)``; ``args`` may hold references from ``JobRunner.share``."""

    key: str
    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    resources: Resources = Resources()


@dataclass(frozen=True)
class Succeeded:
    """The job returned ``value``; ``seconds`` is its own wall time, ``device`` cpu or cuda."""

    key: str
    value: Any
    seconds: float
    device: str


@dataclass(frozen=True)
class Failed:
    """The job ended without a value."""

    key: str
    cause: Cause
    message: str
    traceback: str = ""
    seconds: float = 0.0


Outcome = Succeeded | Failed


@dataclass(frozen=True)
class Progress:
    """How far a running job is: ``fraction`` in [0, 1] and a short text."""

    key: str
    fraction: float
    text: str


class JobRunner(Protocol):
    """Runs jobs in parallel; use it as a context manager."""

    def share(self, value: Any) -> Any:
        """Put a value once into shared memory and return a reference that may be an argument."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Yield each outcome as it comes. Closing the iterator cancels the rest."""

    def cancel(self, key: str) -> None:
        """Stop one running job by force; its outcome is ``Failed(cause="cancelled")``."""

    def progress(self) -> Sequence[Progress]:
        """The latest word of each running job."""

    @property
    def parallel(self) -> int:
        """How many one-CPU jobs can run at a time (at least 1)."""

    def close(self) -> None:
        """Stop everything that is still running and release what was shared."""
