"""The port of all methods: given what was tried, say what to try next.

A method keeps nothing between calls that it could not make again out of what was tried, so a cycle
that was killed goes on where it was: the rows of its trials are the only record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

Value = str | int | float | bool
Values = Mapping[str, Any]
"""A flat point: parameter -> value (``weights.bpr`` for an inner one). A candidate that brings a
structure of its own has it under ``structure``, as a document of the grammar."""
State = Literal["open", "pruned", "done", "failed"]


@dataclass(frozen=True)
class Candidate:
    """What to try next.

    ``origin`` names who drew it, honestly: given, tpe, random, policy, mutation, crossover, or
    ``llm:<model>``. ``note`` is kept with the trial: parent, hypothesis, expected effect, cost.
    """

    values: Values
    origin: str
    note: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tried:
    """One candidate of this study or of the past, and what came of it.

    ``reward`` is the inner reward of a candidate that is done, larger is better. ``rungs`` are the
    rewards at the rungs that it has reached, in their order. ``number`` orders candidates.
    """

    number: int
    values: Values
    state: State
    reward: float | None = None
    rungs: Sequence[float] = ()
    origin: str = ""
    error: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    note: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """What it took; 0: nothing, or nobody knows."""
    trial: int | None = None
    """The key of its row, by which candidates of other cycles name it as a parent."""


@runtime_checkable
class Ends(Protocol):
    """A method that can say why it has come to an end."""

    def ended(self, tried: Sequence[Tried]) -> str:
        """Why nothing more is worth trying; empty while something is."""
        ...


class Method(Protocol):
    """Anything that proposes candidates."""

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """At most ``n`` candidates; fewer, or none, when there is nothing more worth trying.

        ``tried`` is everything that this study has tried so far, open ones too, by number. The
        same ``tried`` gives the same candidates.
        """
        ...
