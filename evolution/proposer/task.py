"""What a model may be asked for: the port that a structure and a composition both fulfil."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agenticrs.evolution.methods.method import Values
from agenticrs.evolution.proposer.embedding import Embedding
from agenticrs.platform.errors import EvolutionError

MOST_ERRORS = 12


class Unfit(EvolutionError):
    """An answer was refused; ``errors`` say exactly why, one by one."""

    def __init__(self, errors: Sequence[str]) -> None:
        self.errors = tuple(errors[:MOST_ERRORS])
        super().__init__("; ".join(self.errors))


@dataclass(frozen=True)
class Drafted:
    """An answer that passed every check: the candidate's values, and what is known of it."""

    values: Values
    facts: Mapping[str, Any] = field(default_factory=dict)


class Task(Protocol):
    """One kind of answer: its schema, how it is checked, and when two are alike."""

    @property
    def name(self) -> Literal["structure", "composition"]:
        """Which prompt says what to do."""
        ...

    @property
    def near(self) -> float:
        """Candidates whose embeddings are less far apart are near-copies."""
        ...

    def body(self) -> Mapping[str, Any]:
        """JSON schemas of the answer's own properties, in order; ``$defs`` among them."""
        ...

    def limits(self) -> Mapping[str, Any]:
        """What the candidate must keep to, as told to the model."""
        ...

    def shown(self, values: Values) -> Mapping[str, Any] | None:
        """A candidate as the model sees it, in the form of an answer; None for what has none."""
        ...

    def read(self, answer: Mapping[str, Any], parent: Values) -> Drafted:
        """Check an answer; raises Unfit with the exact errors."""
        ...

    def identity(self, values: Values) -> str | None:
        """Equal for candidates that are the same under other names; None for what is none."""
        ...

    def embedding(self, values: Values) -> Embedding:
        """The candidate as features; it has an identity."""
        ...

    def difference(self, parent: Values, values: Values) -> str:
        """What changed, in a few words."""
        ...
