"""Finds the users for whom an agent raises, so that it can answer the others of a batch.

Requests of different people share a call. One history that an agent cannot read must not take the
agent's candidates from everybody else: the batch is cut in halves until the culprit is alone. An
agent that fails for both halves is broken, and is not asked further.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Isolated(Generic[T]):
    """Answers for parts of the rows, and the rows that have none with the last error."""

    parts: tuple[tuple[range, T], ...]
    failed: range
    error: Exception


def isolate(call: Callable[[range], T], n: int, error: Exception) -> Isolated[T]:
    """Ask again for parts of ``n`` rows, after ``call(range(n))`` has raised ``error``.

    At most 2 log2(n) calls. When one is late (TimeoutError) nobody else is asked.
    """
    parts: list[tuple[range, T]] = []
    suspects = range(n)
    while len(suspects) > 1:
        middle = len(suspects) // 2
        failing: list[range] = []
        for half in (suspects[:middle], suspects[middle:]):
            try:
                parts.append((half, call(half)))
            except TimeoutError as late:
                return Isolated(tuple(parts), _rest(suspects, parts), late)
            except Exception as raised:  # an agent's failure is a result
                error = raised
                failing.append(half)
        if len(failing) != 1:
            return Isolated(tuple(parts), suspects if failing else range(0), error)
        suspects = failing[0]
    return Isolated(tuple(parts), suspects, error)


def _rest(suspects: range, parts: list[tuple[range, T]]) -> range:
    """The suspects that no part holds: all of them, or the second half."""
    answered = [rows for rows, _ in parts if rows.start == suspects.start]
    return suspects[len(answered[-1]) :] if answered else suspects
