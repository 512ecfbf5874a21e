"""The port for language models: messages and a schema in, one JSON object out.

LanguageModelError                  the question was asked, and there is no answer to work with
├── RateLimited                     the endpoint asks to wait longer than we may
├── TimedOut                        no answer within the time limit
├── Unreachable                     no connection, or the endpoint is broken
├── Declined                        the endpoint refuses the request itself (key, model name, ...)
├── Refused                         the model, or a filter behind it, will not answer
├── Malformed                       the answer is no JSON object (carries the text)
│   └── CutOff                      it ended at the limit of tokens
└── OverBudget                      a cap forbids to ask at all

Every error carries what the question may have cost. Who asks and why is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from agenticrs.platform.errors import AgenticRSError


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True)
class Schema:
    """The form of the answer: a JSON schema of an object, in the strict subset (``strict``)."""

    name: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Usage:
    """What one question used; ``calls`` counts repeated ones, ``guessed`` that nobody told us."""

    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    calls: int = 0
    guessed: bool = False


@dataclass(frozen=True)
class Completion:
    """An answer: a JSON object that has not been checked against anything yet."""

    answer: Mapping[str, Any]
    text: str
    usage: Usage = Usage()


class LanguageModelError(AgenticRSError):
    """There is no answer; ``usage`` is what asking may have cost."""

    def __init__(self, message: str, *, hint: str = "", usage: Usage | None = None) -> None:
        super().__init__(message, hint=hint)
        self.usage = usage or Usage()


class RateLimited(LanguageModelError):
    """The endpoint asks to wait longer than the time limit allows."""


class TimedOut(LanguageModelError):
    """There was no answer in time. It may be charged all the same: the usage is the worst case."""


class Unreachable(LanguageModelError):
    """No connection, or the endpoint itself fails."""


class Declined(LanguageModelError):
    """The endpoint refuses the request: key, model name, or something it does not understand."""


class Refused(LanguageModelError):
    """The model, or a content filter, will not answer."""


class Malformed(LanguageModelError):
    """The answer holds no JSON object."""

    def __init__(self, message: str, *, text: str = "", usage: Usage | None = None) -> None:
        super().__init__(message, usage=usage)
        self.text = text


class CutOff(Malformed):
    """The answer ended at the limit of tokens."""


class OverBudget(LanguageModelError):
    """A cap on tokens, money or time forbids the question."""


class LanguageModel(Protocol):
    """One model behind an endpoint."""

    @property
    def name(self) -> str:
        """The name that the endpoint knows it by."""
        ...

    def complete(
        self,
        messages: Sequence[Message],
        schema: Schema,
        *,
        max_tokens: int,
        timeout: float,
    ) -> Completion:
        """Ask once; ``timeout`` seconds in all, waiting for a busy endpoint included.

        Raises a LanguageModelError, nothing else.
        """
        ...


def most_tokens(messages: Sequence[Message], schema: Schema) -> int:
    """More tokens than a question has: one for every two bytes, where text has three or more."""
    size = sum(len(message.text.encode()) + 16 for message in messages)
    return (size + len(repr(schema.body).encode())) // 2 + 1
