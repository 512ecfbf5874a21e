"""The proposer's prompts: Markdown files in this package."""

from __future__ import annotations

from typing import Literal

from agenticrs.platform.llm.prompts import Prompt, read_prompt

PromptName = Literal["structure", "composition", "repair"]


def load(name: PromptName) -> Prompt:
    """The prompt of that name."""
    return read_prompt("agenticrs.evolution.proposer", name)
