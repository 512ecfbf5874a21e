"""One call of a job's function: resolve what was shared, pass ``report``, describe an error.

The same for every runner, so that a job behaves alike in this process and in a worker.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agenticrs.platform.errors import JobError
from agenticrs.platform.jobs.job import Job

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Raised:
    """What a function raised, as text: the error's own class may not exist elsewhere."""

    message: str
    traceback: str
    out_of_memory: bool = False


def refuse_repeated_keys(jobs: Sequence[Job]) -> None:
    """JobError when two jobs of one batch have the same key: outcomes go by key."""
    seen: set[str] = set()
    for job in jobs:
        if job.key in seen:
            raise JobError(f"two jobs have the key {job.key!r}", hint="keys must differ")
        seen.add(job.key)


def wants_report(function: Callable[..., Any]) -> bool:
    """Whether the function can be given ``report=``."""
    try:
        parameter = inspect.signature(function).parameters.get("report")
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
    return parameter is not None and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY


def call(function: Callable[..., Any], args: tuple[Any, ...], report: Report) -> Any:
    """``function(*args)``, with ``report=report`` when it has such a parameter left."""
    if wants_report(function) and not _already_given(function, len(args)):
        return function(*args, report=report)
    return function(*args)


def describe(error: BaseException) -> Raised:
    """The error as text, without the frames of the runner."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith(
        "agenticrs.platform.jobs"
    ):
        frames = frames.tb_next
    lines = traceback.format_exception(type(error), error, frames)
    # torch has its own error for a full GPU, a subclass of RuntimeError.
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return Raised(f"{type(error).__name__}: {error}", "".join(lines), full)


def _already_given(function: Callable[..., Any], n_args: int) -> bool:
    return "report" in list(inspect.signature(function).parameters)[:n_args]
