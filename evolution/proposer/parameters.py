"""Parameters of a decision space in an answer: their JSON schemas, and how values are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agenticrs.registry.spec import Choice, ConcreteParameter, FloatRange


def schema_of(parameter: ConcreteParameter) -> dict[str, Any]:
    """The schema of one value."""
    if isinstance(parameter, Choice):
        return {"enum": list(parameter.values), "type": _types(parameter.values)}
    kind = "number" if isinstance(parameter, FloatRange) else "integer"
    return {"type": kind, "minimum": parameter.low, "maximum": parameter.high}


def or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with null beside it: leave it as it was."""
    return {"anyOf": [dict(schema), {"type": "null"}]}


def read_value(parameter: ConcreteParameter, given: Any) -> Any:
    """The value, if the parameter may have it; raises ValueError that says what it may have."""
    if isinstance(parameter, Choice):
        for value in parameter.values:
            if value == given and isinstance(value, bool) == isinstance(given, bool):
                return value
        listed = ", ".join(repr(value) for value in parameter.values)
        raise ValueError(f"{parameter.name}: {_short(given)} is none of {listed}")
    real = isinstance(parameter, FloatRange)
    whole = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
    if isinstance(given, bool) or not (whole or (real and isinstance(given, float))):
        wanted = "a number" if real else "an integer"
        raise ValueError(f"{parameter.name}: {_short(given)} is not {wanted}")
    if not parameter.low <= given <= parameter.high:  # neither is infinity, nor NaN
        raise ValueError(
            f"{parameter.name}: {_short(given)} is not in [{parameter.low:g}, {parameter.high:g}]"
        )
    return float(given) if real else int(given)


def _types(values: Sequence[Any]) -> Any:
    names = {str: "string", bool: "boolean", int: "integer", float: "number"}
    found = sorted({names[type(value)] for value in values})
    return found[0] if len(found) == 1 else found


def _short(given: Any) -> str:
    return repr(given)[:60]
