"""A table of planted defects: agent classes, each with the check that must find it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from _pytest.mark import ParameterSet

from agenticrs.agents.agent import Agent

AgentT = TypeVar("AgentT", bound=type[Agent[Any]])


@dataclass
class Defects:
    """Classes with the name of the check that must find each."""

    rows: list[tuple[type[Agent[Any]], str, bool]] = field(default_factory=list)

    def planted(self, check: str, slow: bool = False) -> Callable[[AgentT], AgentT]:
        """Put the class below into the table."""

        def note(agent: AgentT) -> AgentT:
            self.rows.append((agent, check, slow))
            return agent

        return note

    def parameters(self) -> list[ParameterSet]:
        """The rows for ``parametrize``; a class's name, spelt out, is its id."""
        return [
            pytest.param(
                agent,
                check,
                id=re.sub(r"(?<=[a-z])(?=[A-Z])", " ", agent.__name__).lower(),
                marks=[pytest.mark.slow] if slow else [],
            )
            for agent, check, slow in self.rows
        ]
