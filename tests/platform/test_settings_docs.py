"""docs/settings.md tells the truth about every setting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agenticrs.platform.settings import PLAIN_VARIABLES, Settings

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
ROW = re.compile(r"^\| `(AGENTICRS_\w+)` \| (.*?) \| (.*) \|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, str]]:
    return {name: (default, text) for name, default, text in ROW.findall(DOCUMENT.read_text())}


def default_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_each_setting_stands_there_with_its_default_and_meaning(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description, f"{name} has no docstring"
    default, text = rows()[f"AGENTICRS_{name.upper()}"]
    assert default == default_text(field.default)
    assert text == " ".join(field.description.split())


def test_nothing_stands_there_that_does_not_exist() -> None:
    assert set(rows()) == {f"AGENTICRS_{name.upper()}" for name in Settings.model_fields}


def test_the_plain_variables_stand_there() -> None:
    assert all(f"`{name}`" in DOCUMENT.read_text() for name in PLAIN_VARIABLES.values())
