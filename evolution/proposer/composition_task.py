"""The task of drafting a composition: a point of the space of compositions.

Who takes part with which weight, which fusion, rankers and router, how many candidates go on, which
path a segment takes and for which one a ranker acts are parameters of that space
(``evolution.blueprint``), so a draft is checked as any point is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agenticrs.evolution.methods.method import Values
from agenticrs.evolution.proposer import embedding
from agenticrs.evolution.proposer.parameters import read_value, schema_of
from agenticrs.evolution.proposer.task import Drafted, Unfit
from agenticrs.platform.errors import AgenticRSError, EvolutionError
from agenticrs.registry.spec import ConcreteParameter


def _passes(values: Values) -> None:
    """Whatever lies in the space is fit."""


@dataclass(frozen=True)
class CompositionTask:
    """Points of one space. ``check`` raises an AgenticRSError for a point that makes no graph.

    ``told`` is what else the model should know: what each agent is, and how good alone.

    Raises EvolutionError for an empty space.
    """

    space: Sequence[ConcreteParameter]
    check: Callable[[Values], object] = _passes
    told: Mapping[str, Any] | None = None
    near: float = 0.2
    """All parameters together moved by less than a tenth of a range."""

    @property
    def name(self) -> Literal["composition"]:
        """The prompt's."""
        return "composition"

    def __post_init__(self) -> None:
        """Refuse an empty space."""
        if not self.space:
            raise EvolutionError("the decision space is empty")

    def body(self) -> Mapping[str, Any]:
        """``point``, with a value for every parameter."""
        values = {parameter.name: schema_of(parameter) for parameter in self.space}
        return {"properties": {"point": {"type": "object", "properties": values}}}

    def limits(self) -> Mapping[str, Any]:
        """What the wiring tells about the agents."""
        return self.told or {}

    def shown(self, values: Values) -> Mapping[str, Any] | None:
        """Its coordinates."""
        point = self._inside(values)
        return {"point": point} if point else None

    def read(self, answer: Mapping[str, Any], parent: Values) -> Drafted:
        """Every parameter in its range; one that is missing stays as the parent has it."""
        given = answer.get("point")
        if not isinstance(given, Mapping):
            raise Unfit(["point: wanted an object with a value for every parameter"])
        known = {parameter.name for parameter in self.space}
        errors = [f"point: there is no {str(name)[:60]!r}" for name in given if name not in known]
        values: dict[str, Any] = {}
        for parameter in self.space:
            if parameter.name not in given and parameter.name in parent:
                values[parameter.name] = parent[parameter.name]
                continue
            try:
                values[parameter.name] = read_value(parameter, given.get(parameter.name))
            except ValueError as error:
                errors.append(f"point: {error}")
        if errors:
            raise Unfit(errors)
        try:
            self.check(values)
        except AgenticRSError as error:
            raise Unfit([str(error)]) from None
        return Drafted(values)

    def identity(self, values: Values) -> str | None:
        """Its coordinates to six digits, as far as it has some; None for a point without any."""
        point = self._inside(values)
        if not point:
            return None
        rounded = {n: round(v, 6) if isinstance(v, float) else v for n, v in point.items()}
        return json.dumps(rounded, sort_keys=True)

    def embedding(self, values: Values) -> embedding.Embedding:
        """Its coordinates, scaled."""
        return embedding.of_point(values, self.space)

    def difference(self, parent: Values, values: Values) -> str:
        """Coordinates that changed."""
        before, after = self._inside(parent), self._inside(values)
        moved = [name for name in after if before.get(name) != after[name]]
        return ", ".join(f"{n} {_short(before.get(n))} > {_short(after[n])}" for n in moved)

    def _inside(self, values: Values) -> dict[str, Any]:
        return {p.name: values[p.name] for p in self.space if p.name in values}


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
