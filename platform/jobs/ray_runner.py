"""Jobs on Ray: on this machine by default, on a cluster by its address.

A Ray that was lost (its node or its head died) is joined or started anew, once nothing waits for
its answers. What was shared is gone then: whoever shared it is told, and begins again.

The job functions must be importable where they run: on a cluster, install the same AgenticRS on
every node. Nothing of the working folder is uploaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from agenticrs.platform.errors import JobError, JobsAway
from agenticrs.platform.jobs.batch import Batch
from agenticrs.platform.jobs.call import refuse_repeated_keys
from agenticrs.platform.jobs.job import Job, Outcome, Progress
from agenticrs.platform.logs import get_logger

if TYPE_CHECKING:
    from agenticrs.platform.jobs.ray_pool import RayPool


class RayRunner:
    """Fulfils ``JobRunner``; use it as a context manager. A process has one open at a time.

    Args:
        address: a cluster (``ray://host:10001``, ``host:6379``, ``auto``), or None for a Ray that
            lives and dies with the runner.
        home: folder of this AgenticRS (Ray's own session files stay in the system's).
        num_cpus: CPUs of a local Ray; None takes all of the machine.
        num_gpus: GPUs of a local Ray; None takes those that are found.
        dashboard: whether a local Ray starts its web page.
        rejoined: hears the address of another Ray that has taken the place of one that was lost.
    """

    def __init__(
        self,
        address: str | None,
        home: Path,
        num_cpus: int | None = None,
        num_gpus: int | None = None,
        *,
        dashboard: bool = False,
        rejoined: Callable[[str], None] = lambda address: None,
    ) -> None:
        if num_cpus is not None and num_cpus < 1:
            raise JobError(f"num_cpus must be at least 1, got {num_cpus}")
        self.home = home
        self._address = address or None
        self._num_cpus = num_cpus
        self._num_gpus = num_gpus
        self._dashboard = dashboard
        self._rejoined = rejoined
        self._log = get_logger(__name__)
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        self._pool: RayPool | None = None
        self._entered = False
        # A local Ray ends with the thread that started it; those of cycles do not live as long.
        self._keeper = ThreadPoolExecutor(1, "agenticrs-ray")

    def __enter__(self) -> RayRunner:
        self._pool = self._join()
        self._entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where another process's runner joins the Ray of this one; raises JobError when closed."""
        return self._open().address

    @property
    def parallel(self) -> int:
        """How many one-CPU jobs can run at a time (at least 1)."""
        return max(1, int(self._living().capacity().cpus))

    def share(self, value: Any) -> Any:
        """Put a value once into the object store; readers see its numpy arrays without a copy.

        Raises JobsAway when Ray was lost.
        """
        return self._living().share(value)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Start the jobs at once and yield each outcome as it comes.

        Closing the iterator kills what still runs. Raises JobError for a repeated key, JobsAway
        when Ray itself is lost.
        """
        pool = self._living()
        refuse_repeated_keys(jobs)
        batch = Batch(jobs, pool, pool.capacity(), self._tell)
        with self._lock:
            self._batches.append(batch)
        batch.start()
        return self._outcomes(batch)

    def cancel(self, key: str) -> None:
        """Stop one waiting or running job by force; an unknown key is no error."""
        with self._lock:
            batches = list(self._batches)
        for batch in batches:
            batch.cancel(key)

    def progress(self) -> Sequence[Progress]:
        """The latest word of each running job; may be called from any thread."""
        notes = self._open().notes()
        with self._lock:
            running = {id_: key for b in self._batches for id_, key in b.running().items()}
        return [
            Progress(running[attempt], note.fraction, note.text)
            for attempt, note in notes.items()
            if attempt in running
        ]

    def close(self) -> None:
        """Stop everything that is still running and release what was shared. Safe to repeat."""
        self._entered = False
        if self._pool is None:
            return
        with self._lock:
            batches, self._batches = self._batches, []
        for batch in batches:
            batch.stop()
        pool, self._pool = self._pool, None
        pool.close()

    def _outcomes(self, batch: Batch) -> Iterator[Outcome]:
        try:
            yield from batch.outcomes()
        finally:
            batch.stop()
            with self._lock:
                if batch in self._batches:
                    self._batches.remove(batch)

    def _tell(self, event: str, facts: dict[str, Any]) -> None:
        # Hundreds of trials that miss the same GPU are one line, not hundreds.
        repeated = event + str(facts.get("reason", "")) in self._told
        self._told.add(event + str(facts.get("reason", "")))
        (self._log.debug if repeated else self._log.warning)(event, **facts)

    def _join(self) -> RayPool:
        # Ray takes a second to import: only who runs jobs pays for it.
        from agenticrs.platform.jobs.ray_pool import RayPool

        return RayPool(
            self._address,
            num_cpus=self._num_cpus,
            num_gpus=self._num_gpus,
            dashboard=self._dashboard,
        )

    def _living(self) -> RayPool:
        """The pool, which answers; raises JobsAway when it was lost, having joined another one."""
        if self._entered and self._pool is None:  # there was none to be joined the last time
            try:
                self._pool = self._keeper.submit(self._join).result()
            except JobError as error:
                raise JobsAway("Ray was lost and is not back yet", hint=str(error)) from error
            self._rejoined(self._pool.address)
        pool = self._open()
        if pool.answers():
            return pool
        with self._lock:
            waited_for = bool(self._batches)  # those find out by themselves
            if not waited_for:
                self._pool = None
        if not waited_for:
            self._log.warning("Ray was lost: another one is joined, or started")
            pool.close()
        raise JobsAway("Ray was lost, with what was shared", hint="begin again")

    def _open(self) -> RayPool:
        if self._pool is None:
            raise JobError("the job runner is not open", hint="use it in a `with` statement")
        return self._pool
