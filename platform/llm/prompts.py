"""Prompts are Markdown files beside the code that uses them; a version says which text was used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Prompt:
    """One file. They hold instructions of ours and nothing else: data is rendered beside them."""

    name: str
    text: str

    @property
    def version(self) -> str:
        """Name and hash: another text is another version."""
        return f"{self.name}@{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"


@cache
def read_prompt(package: str, name: str) -> Prompt:
    """The prompt ``texts/<name>.md`` of a package."""
    file = files(package).joinpath("texts", f"{name}.md")
    return Prompt(name, file.read_text("utf-8").strip())
