"""Agents whose structure may be replaced by a document that evolution drew.

The config either stands for a document of the agent's own (its sizes are settings like others), or
brings one along; then settings that only shape the agent's own document mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from pydantic import field_validator

from agenticrs.agents.agent import AgentConfig
from agenticrs.agents.grammar.canonical import fingerprint
from agenticrs.agents.grammar.document import Architecture, DotHead, LogitHead
from agenticrs.agents.grammar.shapes import infer
from agenticrs.platform.errors import AgentError
from agenticrs.platform.sandbox.permission import REFUSAL, permitted
from agenticrs.registry.spec import Choice, ConcreteParameter, DecisionSpace, Grammar


class StructuredConfig(AgentConfig):
    """A config that may bring its own structure."""

    structure: Architecture | None = None
    """A document in the place of the agent's own; None: the agent's own."""

    @field_validator("structure")
    @classmethod
    def _permitted(cls, structure: Architecture | None) -> Architecture | None:
        if structure is not None and structure.generated and not permitted():
            raise ValueError(REFUSAL)
        return structure


ConfigT_contra = TypeVar("ConfigT_contra", bound=StructuredConfig, contravariant=True)


@runtime_checkable
class Structured(Protocol[ConfigT_contra]):
    """An agent class with a document for every config."""

    @classmethod
    def document(cls, config: ConfigT_contra) -> Architecture:
        """The structure that the config's own settings stand for."""
        ...


def architecture(agent: type[Structured[ConfigT_contra]], config: ConfigT_contra) -> Architecture:
    """The document that an agent with this config is built from."""
    return config.structure or agent.document(config)


def check_structure(structure: Architecture, grammar: Grammar | None) -> None:
    """Refuse a document that an agent with that grammar cannot be built from.

    Raises AgentError: blocks that do not fit together, the wrong head, or an agent whose structure
    is fixed (``grammar`` None).
    """
    if grammar is None:
        raise AgentError("the structure of this agent is fixed", hint="leave `structure` out")
    infer(structure)
    head = structure.head
    if grammar == "retrieval" and not isinstance(head, DotHead):
        raise AgentError("a retriever needs a dot head", hint="score the catalogue by a query")
    if grammar == "ranking" and not (isinstance(head, LogitHead) and len(head.tasks) == 1):
        raise AgentError("a ranker needs a logits head with one task")
    if grammar == "ranking" and structure.generated is not None:
        raise AgentError("a ranker cannot have a generated block: only retrievers can")


def recipe(
    agent: type[Structured[Any]], config_type: type[StructuredConfig], space: DecisionSpace
) -> tuple[ConcreteParameter, ...]:
    """The parameters that mean the same for every structure: those that leave the document alone.

    They are the low-dimensional space in which a drawn structure is searched.
    """
    own = fingerprint(agent.document(config_type()))
    kept = []
    for parameter in space.expand():
        ends = (
            parameter.values if isinstance(parameter, Choice) else (parameter.low, parameter.high)
        )
        drawn = (config_type.model_validate({parameter.name: value}) for value in ends)
        if all(fingerprint(agent.document(config)) == own for config in drawn):
            kept.append(parameter)
    return tuple(kept)


def left_open(
    recipe: Sequence[ConcreteParameter], structure: Architecture
) -> tuple[ConcreteParameter, ...]:
    """The recipe without what the structure says itself (loss, negatives)."""
    settled = structure.trained_by().settled
    return tuple(parameter for parameter in recipe if parameter.name not in settled)
