"""One batch of jobs: submit while there is room, watch clocks, retry, collect outcomes.

A thread drives the batch, so that time limits hold and retries happen while the caller is busy
with an earlier outcome. The pool of workers (``ray_pool.py``) never retries by itself: only this
module can tell a worker that was lost from one that it had killed.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from agenticrs.platform.errors import JobError, JobsAway
from agenticrs.platform.jobs.capacity import Capacity
from agenticrs.platform.jobs.job import Cause, Failed, Job, Outcome, Resources, Succeeded
from agenticrs.platform.jobs.worker import Note, RaisedAfter, Returned, Ticket

Handle = Any
"""Whatever the pool knows a submitted attempt by; hashable."""

_TICK = 0.2
_KILL_AGAIN = 5.0
_STOP_WITHIN = 15.0


@dataclass(frozen=True)
class Died:
    """An attempt that ended without an answer of its own."""

    cause: Literal["lost", "out_of_memory", "cancelled", "error"]
    message: str


class Pool(Protocol):
    """Worker processes somewhere. Every method raises JobError when the pool itself is gone."""

    def submit(self, job: Job, ticket: Ticket) -> Handle:
        """Hand the job over; TypeError when it cannot be sent to another process."""

    def wait(self, handles: Sequence[Handle], seconds: float) -> Sequence[Handle]:
        """Those that have ended; returns as soon as there is one."""

    def result(self, handle: Handle) -> Returned | RaisedAfter | Died:
        """How an ended attempt ended."""

    def kill(self, handle: Handle) -> None:
        """End the worker of the attempt by force, or take it off the queue."""

    def notes(self) -> Mapping[str, Note]:
        """What is known of attempts that have begun, by id; may be out of date or empty.

        Raises JobsAway when the pool has been silent for so long that it must be lost.
        """

    def forget(self, ticket: Ticket) -> None:
        """The attempt has ended: drop its note."""


@dataclass(frozen=True)
class _Waiting:
    job: Job
    resources: Resources
    lost: int = 0
    """How many workers this job has lost."""


@dataclass
class _Flight:
    """An attempt that was handed to the pool."""

    entry: _Waiting
    ticket: Ticket
    handle: Handle
    begun: float | None = None
    """Monotonic time at which the function was called; None while it waits for a worker."""
    doomed: Cause | None = None
    killed_at: float = 0.0

    @property
    def seconds(self) -> float:
        return 0.0 if self.begun is None else time.monotonic() - self.begun


@dataclass(frozen=True)
class _Broken:
    error: Exception


class Batch:
    """Drives jobs to their outcomes. ``tell`` is called with a reason worth logging."""

    def __init__(
        self,
        jobs: Sequence[Job],
        pool: Pool,
        capacity: Capacity,
        tell: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._pool = pool
        self._capacity = capacity
        self._tell = tell
        self._n_jobs = len(jobs)
        self._waiting = deque(_Waiting(job, self._fitted(job)) for job in jobs)
        self._flights: dict[Handle, _Flight] = {}
        self._to_cancel: set[str] = set()
        self._running: dict[str, str] = {}
        self._answers: queue.Queue[Outcome | _Broken] = queue.Queue()
        self._looked_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="agenticrs-jobs", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def outcomes(self) -> Iterator[Outcome]:
        """One outcome for each job, as they come; JobError when the pool broke (JobsAway: lost)."""
        for _ in range(self._n_jobs):
            answer = self._answers.get()
            if isinstance(answer, _Broken):
                kind = JobsAway if isinstance(answer.error, JobsAway) else JobError
                raise kind(
                    f"the job runner broke: {answer.error}",
                    hint="start again: finished trials are kept",
                ) from answer.error
            yield answer

    def cancel(self, key: str) -> None:
        """Ask for the end of one job; takes effect within a fraction of a second."""
        self._to_cancel.add(key)

    def stop(self) -> None:
        """Cancel what is left and wait until the workers are gone."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=_STOP_WITHIN)

    def running(self) -> dict[str, str]:
        """Attempt id -> key of what was handed to the pool."""
        return dict(self._running)

    def _fitted(self, job: Job) -> Resources:
        resources, reason = self._capacity.fit(job.resources)
        if reason:
            self._tell("job gets less than it asked for", {"job": job.key, "reason": reason})
        return resources

    def _drive(self) -> None:
        try:
            while self._waiting or self._flights:
                self._cancel_what_was_asked()
                self._submit_what_fits()
                if self._flights:
                    for handle in self._pool.wait(list(self._flights), _TICK):
                        self._land(self._flights.pop(handle))
                    self._watch_clocks()
        except Exception as error:  # the thread's failure is the batch's outcome
            self._answers.put(_Broken(error))

    def _cancel_what_was_asked(self) -> None:
        stopping = self._stopping.is_set()
        for entry in list(self._waiting):
            if stopping or entry.job.key in self._to_cancel:
                self._waiting.remove(entry)
                self._answers.put(Failed(entry.job.key, "cancelled", "cancelled before it began"))
        for flight in self._flights.values():
            if stopping or flight.ticket.key in self._to_cancel:
                self._kill(flight, "cancelled")

    def _submit_what_fits(self) -> None:
        while self._waiting:
            entry = self._waiting[0]
            flying = [flight.entry.resources for flight in self._flights.values()]
            if not self._capacity.holds(flying, entry.resources):
                return
            self._waiting.popleft()
            job, given = entry.job, entry.resources
            ticket = Ticket(uuid.uuid4().hex, job.key, given.cpus, given.gpus)
            try:
                handle = self._pool.submit(job, ticket)
            except TypeError as error:
                message = f"the job cannot be sent to a worker: {error}"
                self._answers.put(Failed(job.key, "error", message))
                continue
            self._flights[handle] = _Flight(entry, ticket, handle)
            self._running[ticket.id] = job.key

    def _watch_clocks(self) -> None:
        now = time.monotonic()
        if not self._flights or now - self._looked_at < _TICK:
            return
        self._looked_at = now
        notes = self._pool.notes()
        for flight in self._flights.values():
            note = notes.get(flight.ticket.id)
            if note is not None and flight.begun is None:
                flight.begun = now - note.age
            if flight.begun is not None and flight.seconds > flight.entry.job.resources.time_limit:
                self._kill(flight, "timeout")

    def _kill(self, flight: _Flight, cause: Cause) -> None:
        now = time.monotonic()
        if flight.doomed is None or now - flight.killed_at > _KILL_AGAIN:
            flight.doomed = flight.doomed or cause
            flight.killed_at = now
            self._pool.kill(flight.handle)

    def _land(self, flight: _Flight) -> None:
        self._running.pop(flight.ticket.id, None)
        result = self._pool.result(flight.handle)
        self._pool.forget(flight.ticket)
        key, retries = flight.ticket.key, flight.entry.job.resources.retries
        if isinstance(result, Died) and result.cause == "lost" and flight.doomed is None:
            lost = flight.entry.lost + 1
            self._tell("worker lost", {"job": key, "times": lost, "reason": result.message})
            if lost <= retries:
                entry = flight.entry
                self._waiting.appendleft(_Waiting(entry.job, entry.resources, lost))
                return
        self._answers.put(self._outcome(flight, result))

    def _outcome(self, flight: _Flight, result: Returned | RaisedAfter | Died) -> Outcome:
        key, limit = flight.ticket.key, flight.entry.job.resources.time_limit
        if flight.doomed == "cancelled":
            return Failed(key, "cancelled", "cancelled while it ran", seconds=flight.seconds)
        if isinstance(result, Returned):
            device = "cuda" if flight.ticket.gpus > 0 else "cpu"
            return Succeeded(key, result.value, result.seconds, device)
        if isinstance(result, RaisedAfter):
            raised = result.raised
            cause: Cause = "out_of_memory" if raised.out_of_memory else "error"
            return Failed(key, cause, raised.message, raised.traceback, result.seconds)
        if flight.doomed == "timeout":
            message = f"killed after its time limit of {limit:g} s"
            return Failed(key, "timeout", message, seconds=flight.seconds)
        message = result.message
        if result.cause == "lost":
            message = f"{message} (worker lost {flight.entry.lost + 1} times)"
        return Failed(key, result.cause, message, seconds=flight.seconds)
