"""Prompts are Markdown files in this package; a version says which text was used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

PromptName = Literal["structure", "composition", "repair"]


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
def load(name: PromptName) -> Prompt:
    """The prompt of that name."""
    file = files("agenticrs.evolution.proposer").joinpath("texts", f"{name}.md")
    return Prompt(name, file.read_text("utf-8").strip())
