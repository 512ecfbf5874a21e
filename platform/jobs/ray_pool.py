"""Ray as a pool of workers: the only module that imports Ray.

It starts or joins Ray, hands attempts to it, and translates its many exceptions. Ray retries
nothing here (``max_retries=0``): ``batch.py`` decides that.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from agenticrs.platform.errors import JobError, JobsAway
from agenticrs.platform.jobs.batch import Died
from agenticrs.platform.jobs.capacity import Capacity
from agenticrs.platform.jobs.job import Job
from agenticrs.platform.jobs.worker import (
    Board,
    Note,
    RaisedAfter,
    Returned,
    Ticket,
    execute,
)
from agenticrs.platform.masking import masked

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else `uv run` packs and uploads the working folder
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a late call looks for, or starts, another Ray
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # hides the GPU from jobs without a share of it
}

_ANSWER_WITHIN = 10.0
LOST_AFTER = 40.0
"""Seconds of silence while jobs run after which Ray is lost; losing one node of several is not."""


class RayPool:
    """Fulfils ``Pool``. Open from its construction until ``close``; one in a process.

    Raises JobError when Ray cannot be started or reached.
    """

    def __init__(
        self,
        address: str | None,
        *,
        num_cpus: int | None = None,
        num_gpus: int | None = None,
        dashboard: bool = False,
    ) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        # Ray ends a process without a word when a node it had joined is dead and, as under an init
        # system, its parent is process 1. It looks at this process instead, if one is named.
        os.environ["RAY_RAYLET_PID"] = str(os.getpid())
        import ray

        self._ray: Any = ray
        if ray.is_initialized():
            raise JobError(
                "Ray is already running in this process", hint="close the other runner first"
            )
        if address is not None:
            _refuse_silent(address)
        # "local", not None: without it Ray would join whatever an old file points to.
        options: dict[str, Any] = {"address": address or "local"}
        if address is None:
            options |= {
                "num_cpus": num_cpus,
                "num_gpus": num_gpus,
                "include_dashboard": dashboard,
            }
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            _keep_stdout_clean(ray._private.worker)
            # Losing the board costs words of progress, never a job: it restarts for ever.
            self._board: Any = ray.remote(Board).options(num_cpus=0, max_restarts=-1).remote()
            self._execute: Any = ray.remote(_execute)
            self._heard = time.monotonic()
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            ray.shutdown()
            where = masked(address) if address else "this machine"
            raise JobError(
                f"Ray on {where} cannot be used: {masked(str(error))}",
                hint="without AGENTICRS_RAY_ADDRESS and RAY_ADDRESS, Ray runs on this machine",
            ) from error

    def answers(self) -> bool:
        """Whether this is still the Ray that was joined.

        Ask it before anything else: a process that asks a lost Ray for its nodes is ended by it.
        """
        self._heard = time.monotonic()
        try:
            self._ray.get(self._board.read.remote(), timeout=_ANSWER_WITHIN)
        except self._ray.exceptions.RayError:
            return False
        return True

    @property
    def address(self) -> str:
        """Where other processes join this Ray."""
        return str(self._ray.get_runtime_context().gcs_address)

    def capacity(self) -> Capacity:
        """What the nodes that are alive have now."""
        return Capacity.of_nodes(self._ray.nodes())

    def share(self, value: Any) -> Any:
        """Put the value into the object store and return Ray's reference."""
        return self._ray.put(value)

    def submit(self, job: Job, ticket: Ticket) -> Any:
        """Queue the attempt; references among the arguments become values in the worker."""
        options = {"num_cpus": ticket.cpus, "num_gpus": ticket.gpus, "max_retries": 0}
        task = self._execute.options(name=f"agenticrs {job.key}", **options)
        return task.remote(job.function, ticket, self._board, *job.args)

    def wait(self, handles: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Those that have ended."""
        ready, _ = self._ray.wait(list(handles), num_returns=1, timeout=seconds)
        more, _ = self._ray.wait(list(handles), num_returns=len(handles), timeout=0)
        return list(dict.fromkeys([*ready, *more]))

    def result(self, handle: Any) -> Returned | RaisedAfter | Died:
        """How an ended attempt ended."""
        errors = self._ray.exceptions
        try:
            value: Returned | RaisedAfter = self._ray.get(handle)
            return value
        except errors.RayTaskError as error:  # arguments or result could not be (un)pickled
            return Died("error", f"{type(error.cause).__name__}: {error.cause}")
        except errors.TaskCancelledError as error:
            return Died("cancelled", str(error))
        except errors.OutOfMemoryError as error:
            return Died("out_of_memory", _first_lines(error))
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.LocalRayletDiedError,
            errors.ObjectLostError,
        ) as error:
            return Died("lost", _first_lines(error))
        except errors.RayError as error:
            return Died("error", f"{type(error).__name__}: {_first_lines(error)}")

    def kill(self, handle: Any) -> None:
        """End the worker by force: a soft cancel does not interrupt C code."""
        self._ray.cancel(handle, force=True)

    def notes(self) -> Mapping[str, Note]:
        """The board's notes; empty while the board does not answer, JobsAway after long silence."""
        try:
            found: dict[str, Note] = self._ray.get(self._board.read.remote(), timeout=2)
        except self._ray.exceptions.RayError:
            silent = time.monotonic() - self._heard
            if silent > LOST_AFTER:
                raise JobsAway(f"Ray has not answered for {silent:.0f} s") from None
            return {}
        self._heard = time.monotonic()
        return found

    def forget(self, ticket: Ticket) -> None:
        """Drop the note, without waiting for it."""
        self._board.forget.remote(ticket.id)

    def close(self) -> None:
        """Leave Ray; a local one ends with all its processes."""
        self._ray.shutdown()


def _execute(function: Any, ticket: Ticket, board: Any, *args: Any) -> Returned | RaisedAfter:
    """What Ray runs in a worker; calls to the board return at once."""

    def post(attempt: str, fraction: float, text: str) -> None:
        board.post.remote(attempt, fraction, text)

    return execute(function, ticket, post, args)


def _refuse_silent(address: str) -> None:
    """Ray itself waits for minutes when nobody answers."""
    if address == "auto":
        return  # Ray reads where the cluster of this machine is
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise JobError(
            f"{masked(address)!r} is no address of a Ray cluster",
            hint="give host:6379, ray://host:10001, or auto",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_WITHIN).close()
    except OSError as error:
        raise JobError(
            f"Ray at {address} does not answer: {error}",
            hint="without AGENTICRS_RAY_ADDRESS and RAY_ADDRESS, Ray runs on this machine",
        ) from error


def _keep_stdout_clean(ray_worker: Any) -> None:
    # Ray prints each dead worker to the driver's *stdout*, whatever log_to_driver says, in the
    # middle of a command's answer. It has no switch for it; we tell of lost workers ourselves.
    if hasattr(ray_worker, "print_to_stdstream"):
        ray_worker.print_to_stdstream = lambda *_args, **_kwargs: None


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return masked(" ".join(lines[:3]))
