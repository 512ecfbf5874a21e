"""Language models behind any endpoint that speaks OpenAI's chat completions.

The only module that knows the SDK. It asks for structured output and falls back to plainer forms
that an endpoint understands: JSON mode, then text, with the schema written into the question. What
comes back is parsed here and checked by the caller. Its own retries are counted and waited for
within one time limit, which holds for the whole question: an endpoint that sends a byte now and
then cannot stretch it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import urlsplit

from agenticrs.platform.errors import SettingsError
from agenticrs.platform.llm.json_text import json_object
from agenticrs.platform.llm.port import (
    Completion,
    CutOff,
    Declined,
    LanguageModelError,
    Malformed,
    Message,
    RateLimited,
    Refused,
    Schema,
    TimedOut,
    Unreachable,
    Usage,
    most_tokens,
)
from agenticrs.platform.masking import MASK, masked

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Output = Literal["schema", "json", "text"]
_PLAINER: dict[Output, Output] = {"schema": "json", "json": "text"}
_LONGEST_REASON = 300
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0


@dataclass(frozen=True)
class _Dialect:
    """How an endpoint wants to be asked; found out once, then kept."""

    output: Output = "schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


class OpenAIModel:
    """One model by name. Not for use inside a running event loop.

    Args:
        name: the model as the endpoint calls it.
        api_key: None for an endpoint that wants none.
        base_url: the endpoint, with ``/v1`` where it has one; None: OpenAI's own.
        output: ask in this form only; None: the first of schema, json, text that is understood.
        attempts: how often in all a busy or broken endpoint is asked.
        wait: how to wait before the next attempt.

    Raises SettingsError for an empty name, and for an address that is none.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None,
        base_url: str | None = None,
        output: Output | None = None,
        attempts: int = 3,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not name:
            raise SettingsError("a language model has no name", hint="name the endpoint's models")
        if base_url is not None and not _is_address(base_url):
            raise SettingsError(
                f"the endpoint's address is {masked(base_url)!r}",
                hint="it begins with http:// or https:// and mostly ends with /v1",
            )
        self._name = name
        self._key = (api_key or "").strip()
        self._base_url = base_url
        self._fixed = output is not None
        self._dialect = _Dialect(output or "schema")
        self._attempts = max(1, attempts)
        self._wait = wait

    @property
    def name(self) -> str:
        """The name that the endpoint knows it by."""
        return self._name

    def __repr__(self) -> str:
        return f"OpenAIModel({self._name!r})"

    def complete(
        self, messages: Sequence[Message], schema: Schema, *, max_tokens: int, timeout: float
    ) -> Completion:
        """Ask once; see ``LanguageModel.complete``."""
        question = _Question(messages, schema, max_tokens, timeout, time.monotonic())
        try:
            return asyncio.run(self._within(timeout, question))
        except TimeoutError:
            raise TimedOut(
                f"{self._name} did not answer within {timeout:g} seconds",
                hint="raise the time limit, or choose a faster model",
                usage=question.worst(),
            ) from None

    async def _within(self, timeout: float, question: _Question) -> Completion:
        from openai import AsyncOpenAI

        # A key is wanted even by endpoints that do not look at it.
        client = AsyncOpenAI(
            api_key=self._key or "none", base_url=self._base_url, max_retries=0, timeout=timeout
        )
        async with client, asyncio.timeout(timeout):
            return await self._answer(client, question)

    async def _answer(self, client: AsyncOpenAI, question: _Question) -> Completion:
        """Ask until there is an answer, in plainer forms where the endpoint wants them."""
        import openai

        dialect, failures = self._dialect, 0
        while True:
            question.calls += 1
            try:
                response = await client.chat.completions.create(**self._request(question, dialect))
            except openai.APITimeoutError:
                raise TimeoutError from None
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                dialect = self._plainer(dialect, error, question)
            except (
                openai.RateLimitError,
                openai.InternalServerError,
                openai.APIConnectionError,
            ) as error:
                failures += 1
                seconds = _seconds_to_wait(error, failures)
                if failures == self._attempts or seconds >= question.seconds_left():
                    self._give_up(error, question)
                await self._wait(seconds)
            except (openai.OpenAIError, ValueError) as error:
                self._give_up(error, question)
            else:
                self._dialect = dialect
                return self._read(response, question)

    def _request(self, question: _Question, dialect: _Dialect) -> dict[str, Any]:
        messages = [
            {"role": message.role, "content": self._without_key(message.text)}
            for message in question.messages
        ]
        request: dict[str, Any] = {
            "model": self._name,
            "messages": messages,
            dialect.limit: question.max_tokens,
        }
        if dialect.output == "schema":
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": question.schema.name,
                    "strict": True,
                    "schema": dict(question.schema.body),
                },
            }
            return request
        if dialect.output == "json":
            request["response_format"] = {"type": "json_object"}
        # Into the first message: some chat templates know one system message and no more.
        schema = json.dumps(question.schema.body, separators=(",", ":"))
        form = f"Answer with one JSON object and nothing else. It must fit this schema:\n{schema}"
        messages[0]["content"] += f"\n\n{form}"
        return request

    def _plainer(self, dialect: _Dialect, error: Exception, question: _Question) -> _Dialect:
        """The next form to try after a request that was not understood."""
        if dialect.limit == "max_tokens" and "max_completion_tokens" in str(error):
            return replace(dialect, limit="max_completion_tokens")
        if self._fixed or dialect.output not in _PLAINER:
            self._give_up(error, question)
        return replace(dialect, output=_PLAINER[dialect.output])

    def _give_up(self, error: Exception, question: _Question) -> NoReturn:
        import openai

        said = f"{self._name}: {self._short(str(error))}"
        usage = question.used(0, 0)
        made: LanguageModelError
        if isinstance(error, openai.RateLimitError):
            made = RateLimited(said, hint="wait, or raise the endpoint's limits", usage=usage)
        elif isinstance(error, openai.APIStatusError) and error.status_code < 500:
            made = Declined(said, hint="check the endpoint, the key and the model", usage=usage)
        else:
            made = Unreachable(said, hint="check the endpoint's address and state", usage=usage)
        raise made from None  # the SDK's error holds the request, key and all

    def _read(self, response: Any, question: _Question) -> Completion:
        """The answer, or the error that says why there is none."""
        choices = getattr(response, "choices", None)
        if not choices:
            raise Malformed(
                f"{self._name} answered without a choice: {self._short(str(response))}",
                usage=question.worst(),
            )
        said, why = choices[0].message, choices[0].finish_reason
        text = said.content if isinstance(said.content, str) else ""
        usage = question.used(*_counted(getattr(response, "usage", None), question, text))
        refusal = getattr(said, "refusal", None)
        if refusal or why == "content_filter":
            reason = self._short(str(refusal or "stopped by a content filter"))
            raise Refused(f"{self._name} refused: {reason}", usage=usage)
        if why == "length":
            raise CutOff(
                f"the answer was cut off after {question.max_tokens} tokens: be shorter",
                text=text,
                usage=usage,
            )
        answer = json_object(text)
        if answer is None:
            raise Malformed("the answer is no JSON object", text=text, usage=usage)
        return Completion(answer, text, usage)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, MASK) if self._key else text

    def _short(self, text: str) -> str:
        return masked(self._without_key(" ".join(text.split())))[:_LONGEST_REASON]


@dataclass
class _Question:
    """One question on its way: what is asked, since when, how often."""

    messages: Sequence[Message]
    schema: Schema
    max_tokens: int
    timeout: float
    begin: float
    calls: int = 0

    def seconds_left(self) -> float:
        return self.begin + self.timeout - time.monotonic()

    def used(self, tokens_in: int, tokens_out: int, *, guessed: bool = False) -> Usage:
        return Usage(tokens_in, tokens_out, time.monotonic() - self.begin, self.calls, guessed)

    def worst(self) -> Usage:
        """What it may have cost when nobody tells."""
        return self.used(most_tokens(self.messages, self.schema), self.max_tokens, guessed=True)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _counted(told: Any, question: _Question, text: str) -> tuple[int, int]:
    """Tokens in and out as the endpoint counts; guessed from the text where it does not."""
    counts = [getattr(told, name, None) for name in ("prompt_tokens", "completion_tokens")]
    guesses = (most_tokens(question.messages, question.schema), len(text.encode()) // 2 + 1)
    first, second = (
        count if isinstance(count, int) and count >= 0 else guess
        for count, guess in zip(counts, guesses, strict=True)
    )
    return first, second


def _seconds_to_wait(error: Exception, failures: int) -> float:
    """As long as the endpoint asks for, else longer each time."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            asked = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if asked >= 0:
            return asked
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (failures - 1))
