"""Jobs in this process, one after another: for fast tests and for ``--inline``.

It behaves like the Ray runner where one process can: shared values are read-only without a copy,
errors are outcomes, waiting jobs can be cancelled. It cannot kill, so a time limit has no effect
and a job that takes the process down takes everything down.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from agenticrs.platform.errors import JobError
from agenticrs.platform.jobs.call import call, describe, refuse_repeated_keys
from agenticrs.platform.jobs.job import Cause, Failed, Job, Outcome, Progress, Succeeded


@dataclass(frozen=True, eq=False)
class _Shared:
    value: Any


class InlineRunner:
    """Fulfils ``JobRunner``; a job runs when its outcome is asked for."""

    def __init__(self) -> None:
        self._closed = False
        self._cancelled: set[str] = set()
        self._progress: dict[str, Progress] = {}

    def __enter__(self) -> InlineRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def parallel(self) -> int:
        """Always 1."""
        return 1

    def share(self, value: Any) -> Any:
        """A reference to the value with its numpy arrays made read-only, as a worker sees it."""
        return _Shared(_read_only(value))

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Run the jobs in their order; closing the iterator drops those that wait."""
        if self._closed:
            raise JobError("the job runner is closed", hint="open a new one")
        refuse_repeated_keys(jobs)
        self._cancelled -= {job.key for job in jobs}
        return self._outcomes(deque(jobs))

    def cancel(self, key: str) -> None:
        """Drop the job if it has not begun."""
        self._cancelled.add(key)

    def progress(self) -> Sequence[Progress]:
        """The latest word of the running job."""
        return list(self._progress.values())

    def close(self) -> None:
        """Drop everything that waits."""
        self._closed = True

    def _outcomes(self, waiting: deque[Job]) -> Iterator[Outcome]:
        while waiting:
            job = waiting.popleft()
            if self._closed or job.key in self._cancelled:
                yield Failed(job.key, "cancelled", "cancelled before it began")
            else:
                yield self._run_one(job)

    def _run_one(self, job: Job) -> Outcome:
        def report(fraction: float, text: str) -> None:
            self._progress[job.key] = Progress(job.key, min(1.0, max(0.0, fraction)), text)

        args = tuple(arg.value if isinstance(arg, _Shared) else arg for arg in job.args)
        begin = time.perf_counter()
        try:
            value = call(job.function, args, report)
        except (Exception, SystemExit) as error:  # a job's failure is its outcome
            raised = describe(error)
            cause: Cause = "out_of_memory" if raised.out_of_memory else "error"
            seconds = time.perf_counter() - begin
            return Failed(job.key, cause, raised.message, raised.traceback, seconds)
        finally:
            self._progress.pop(job.key, None)
        return Succeeded(job.key, value, time.perf_counter() - begin, _device(job))


def _read_only(value: Any) -> Any:
    buffers: list[pickle.PickleBuffer] = []
    try:
        frame = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    except (pickle.PicklingError, TypeError, AttributeError):
        return value  # something local to a test: shared as it is
    views = [buffer.raw().toreadonly() for buffer in buffers]
    return pickle.loads(frame, buffers=views)  # noqa: S301 (dumped one line above)


def _device(job: Job) -> str:
    torch = sys.modules.get("torch")
    return "cuda" if job.resources.gpus and torch and torch.cuda.is_available() else "cpu"
