"""JSON schemas in the strict subset that structured output takes everywhere.

Strict endpoints want every property required, nothing additional, ``anyOf`` in the place of
``oneOf``, and no defaults. What such a schema cannot say (lengths of texts) is checked when the
answer is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DROPPED = frozenset(
    {
        "title",
        "default",
        "discriminator",
        "minLength",
        "maxLength",
        "minProperties",
        "maxProperties",
    }
)


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with the same meaning, as far as the strict subset can say it.

    An object must name its properties: raises ValueError for one with free keys.
    """
    made = _strict(schema)
    if "$defs" in made:
        made["$defs"] = _reachable(made)
    return made


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            made[key] = {name: _strict(inner) for name, inner in value.items()}
        elif key in ("oneOf", "anyOf"):
            made["anyOf"] = [_strict(option) for option in value]
        elif key == "items":
            made[key] = _strict(value)
        elif key == "description":
            made[key] = " ".join(value.split())
        elif key not in _DROPPED:
            made[key] = value
    if made.get("type") == "object":
        free = schema.get("additionalProperties") not in (None, False)
        if "patternProperties" in made or free:
            raise ValueError(f"an object with free keys is not strict: {dict(schema)}")
        made["properties"] = made.get("properties", {})
        made["required"] = list(made["properties"])
        made["additionalProperties"] = False
    return made


def _reachable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Only those definitions that something refers to."""
    definitions: Mapping[str, Any] = schema["$defs"]
    wanted = _references({key: value for key, value in schema.items() if key != "$defs"})
    found: set[str] = set()
    while wanted - found:
        name = min(wanted - found)
        found.add(name)
        wanted |= _references(definitions[name])
    return {name: body for name, body in definitions.items() if name in found}


def _references(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        own = {value["$ref"].rsplit("/", 1)[1]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(inner) for inner in value))
    return set()
