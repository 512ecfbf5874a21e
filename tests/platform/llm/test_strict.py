"""Schemas of structured output: the strict subset, and nothing lost that it can say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from agenticrs.platform.llm.json_text import json_object
from agenticrs.platform.llm.strict import strict


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = Field(default=9, ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    title: str = Field(default="", max_length=9)


class Owner(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")
    others: tuple[Cat, ...] = ()


class Free(BaseModel):
    tags: dict[str, int] = {}


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    if isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


def test_every_object_is_closed_and_every_property_is_wanted() -> None:
    made = strict(Owner.model_json_schema())
    found = list(objects(made))
    assert len(found) == 3
    for inner in found:
        assert inner["additionalProperties"] is False
        assert inner["required"] == list(inner["properties"])
    text = repr(made)
    assert all(word not in text for word in ("oneOf", "default", "discriminator", "maxLength"))
    assert made["$defs"]["Cat"]["properties"]["lives"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
    }


def test_a_property_may_be_called_like_a_word_of_schemas() -> None:
    assert "title" in strict(Owner.model_json_schema())["$defs"]["Dog"]["properties"]


def test_definitions_that_nothing_refers_to_are_left_out() -> None:
    schema = Owner.model_json_schema()
    schema["properties"]["pet"] = {"$ref": "#/$defs/Cat"}
    assert set(strict(schema)["$defs"]) == {"Cat"}


def test_free_keys_cannot_be_said() -> None:
    schema = {"type": "object", "patternProperties": {"^a$": {"type": "string"}}}
    with pytest.raises(ValueError, match="free keys"):
        strict(schema)
    with pytest.raises(ValueError, match="free keys"):
        strict(Free.model_json_schema())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ('  {"a": {"b": [1, 2]}}\n', {"a": {"b": [1, 2]}}),
        ('first {"a": 1}, then {"a": 1, "b": 2}', {"a": 1, "b": 2}),
        ("```json\n{}\n```", {}),
        ("", None),
        ("[1]", None),
        ('{"a": Infinity}', None),
        ('{"a": 1', None),
        ("{" * 100_000, None),
        ('{"a":' * 50_000, None),
    ],
)
def test_one_object_is_found_in_a_text(text: str, expected: dict[str, Any] | None) -> None:
    assert json_object(text) == expected
