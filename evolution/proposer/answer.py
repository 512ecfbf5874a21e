"""The form of an answer: why, from which parent, what is hoped for, then the candidate itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agenticrs.evolution.proposer.task import Task, Unfit
from agenticrs.platform.llm.port import Schema
from agenticrs.platform.llm.strict import strict

Words = Annotated[str, Field(max_length=2000)]


class Expected(BaseModel):
    """The effect that a draft is hoped to have."""

    model_config = ConfigDict(frozen=True)

    change: float = Field(ge=-1, le=10)
    """Relative change of the metric: 0.03 for three per cent more."""
    where: Words
    """Which users or items gain, and which may lose."""


class Reasons(BaseModel):
    """What stands in front of a candidate."""

    model_config = ConfigDict(frozen=True)

    hypothesis: Words = Field(min_length=1)
    """What limits the parent, and why this should help."""
    parent: str
    """Label of the candidate that this one derives from."""
    expected: Expected


def schema(task: Task, parents: Sequence[str]) -> Schema:
    """The schema of an answer to the task; ``parents`` are the labels that may be named."""
    own = task.body()
    reasons = Reasons.model_json_schema()
    properties = {
        **reasons["properties"],
        "parent": {"type": "string", "enum": list(parents)},
        **own["properties"],
    }
    definitions = {**reasons["$defs"], **own.get("$defs", {})}
    body = {"type": "object", "properties": properties, "$defs": definitions}
    return Schema(task.name, strict(body))


def reasons(answer: Mapping[str, Any], parents: Sequence[str]) -> Reasons:
    """Hypothesis, parent and expectation; raises Unfit with what is wrong with them."""
    try:
        found = Reasons.model_validate(answer)
    except ValidationError as error:
        raise Unfit(
            [
                f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)
            ]
        ) from None
    if found.parent not in parents:
        listed = ", ".join(parents)
        raise Unfit([f"parent: {found.parent[:40]!r} is none of {listed}"])
    return found
