"""A job runner that asks, before it hands out an outcome, whether its user may still go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, cast

from agenticrs.platform.jobs.job import Job, JobRunner, Outcome, Progress


class WatchedRunner:
    """Fulfils ``JobRunner`` by another one; ``check`` raises when its user must stop.

    The jobs that are still running are cancelled then, as when the iterator is closed.
    """

    def __init__(self, inner: JobRunner, check: Callable[[], None]) -> None:
        self._inner = inner
        self._check = check

    @property
    def parallel(self) -> int:
        """As the other one."""
        return self._inner.parallel

    def share(self, value: Any) -> Any:
        """As the other one."""
        return self._inner.share(value)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """The same outcomes, each after a look."""
        outcomes = cast(Any, self._inner.run(jobs))  # a generator, which can be closed
        return self._looked(outcomes)

    def cancel(self, key: str) -> None:
        """As the other one."""
        self._inner.cancel(key)

    def progress(self) -> Sequence[Progress]:
        """As the other one."""
        return self._inner.progress()

    def close(self) -> None:
        """As the other one."""
        self._inner.close()

    def _looked(self, outcomes: Any) -> Iterator[Outcome]:
        with closing(outcomes):
            for outcome in outcomes:
                self._check()
                yield outcome
