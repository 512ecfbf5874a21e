"""The actions of a policy: points of a decision space as rows of numbers, and back.

A row holds a place in [0, 1] for each ranged parameter (on the scale that the parameter says) and
then a one-hot vector for each choice, both in the order of their names. Knows nothing of networks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from agenticrs.evolution.methods.method import Value, Values
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import Choice, ConcreteParameter, FloatRange, IntRange

Row = tuple[float, ...]
_SLACK = 1e-9
"""Share of a range by which a value may lie outside: what rounding does to an end."""


class Actions:
    """The rows of one space. Raises EvolutionError for a space without parameters."""

    def __init__(self, space: Sequence[ConcreteParameter]) -> None:
        if not space:
            raise EvolutionError("a policy needs a decision space with parameters, got none")
        by_name = sorted(space, key=lambda parameter: parameter.name)
        self.ranges = [p for p in by_name if not isinstance(p, Choice)]
        self.choices = [p for p in by_name if isinstance(p, Choice)]
        self.options = tuple(len(choice.values) for choice in self.choices)
        """How many values each choice has."""
        self.width = len(self.ranges) + sum(self.options)
        """Numbers in a row."""

    @property
    def fingerprint(self) -> str:
        """Equal for spaces with the same parameters, whatever their order; 16 hex digits."""
        parts = [p.model_dump(mode="json") for p in (*self.ranges, *self.choices)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def row(self, values: Values) -> Row | None:
        """The row of a point; None when it lies outside the space or lacks a parameter."""
        row: list[float] = []
        for parameter in self.ranges:
            place = _place(parameter, values.get(parameter.name))
            if place is None:
                return None
            row.append(place)
        for choice in self.choices:
            chosen = [_same(known, values.get(choice.name)) for known in choice.values]
            if not any(chosen):
                return None
            row += map(float, chosen)
        return tuple(row)

    def values(self, row: Sequence[float]) -> dict[str, Value]:
        """The point of a row. An integer is the one whose stretch of the axis the place hits."""
        found: dict[str, Value] = {p.name: _at(p, row[n]) for n, p in enumerate(self.ranges)}
        start = len(self.ranges)
        for choice, options in zip(self.choices, self.options, strict=True):
            shares = row[start : start + options]
            found[choice.name] = choice.values[shares.index(max(shares))]
            start += options
        return found


def _ends(parameter: FloatRange | IntRange) -> tuple[float, float]:
    """Both ends on the scale of the axis. Each integer gets the stretch of half around it."""
    half = 0.5 if isinstance(parameter, IntRange) else 0.0
    low, high = parameter.low - half, parameter.high + half
    return (math.log(low), math.log(high)) if parameter.log else (low, high)


def _place(parameter: FloatRange | IntRange, value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    slack = _SLACK * (parameter.high - parameter.low)
    if not parameter.low - slack <= value <= parameter.high + slack:
        return None
    low, high = _ends(parameter)
    if high == low:
        return 0.5
    inside = min(max(float(value), parameter.low), parameter.high)
    return ((math.log(inside) if parameter.log else inside) - low) / (high - low)


def _at(parameter: FloatRange | IntRange, place: float) -> Value:
    low, high = _ends(parameter)
    on_axis = low + place * (high - low)
    value = math.exp(on_axis) if parameter.log else on_axis
    if isinstance(parameter, IntRange):
        return min(max(round(value), parameter.low), parameter.high)
    return min(max(value, parameter.low), parameter.high)


def _same(known: Value, value: Any) -> bool:
    # True == 1 for Python, and not for an agent.
    return bool(known == value) and isinstance(known, bool) == isinstance(value, bool)
