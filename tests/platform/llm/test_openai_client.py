"""The adapter on a real HTTP server: every way in which an endpoint answers, or does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.llm_server import Endpoint, Reply, answer, endpoint, error, hang

from agenticrs.platform.errors import SettingsError
from agenticrs.platform.llm.openai_client import OpenAIModel
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
)

KEY = "sk-ours-0123456789abcdefghij"
MESSAGES = (Message("system", "Be brief."), Message("user", "How many?"))
SCHEMA = Schema("count", {"type": "object", "properties": {"n": {"type": "integer"}}})


@pytest.fixture
def server() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


class Waits:
    """Waits in no time, and remembers for how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def model(server: Endpoint, **options: Any) -> OpenAIModel:
    options = {"api_key": KEY, "base_url": server.base_url, "wait": Waits(), **options}
    return OpenAIModel("small", **options)


def ask(asked: OpenAIModel, *, timeout: float = 20.0) -> Completion:
    return asked.complete(MESSAGES, SCHEMA, max_tokens=64, timeout=timeout)


def test_a_question_is_asked_with_its_schema_and_the_answer_is_counted(server: Endpoint) -> None:
    server.script(answer({"n": 3}))
    found = ask(model(server))
    assert found.answer == {"n": 3}
    assert (found.usage.tokens_in, found.usage.tokens_out, found.usage.calls) == (1000, 200, 1)
    assert not found.usage.guessed
    asked = server.asked[0]
    assert asked["model"] == "small"
    assert asked["max_tokens"] == 64
    assert asked["response_format"]["json_schema"] == {
        "name": "count",
        "strict": True,
        "schema": SCHEMA.body,
    }
    assert server.keys == [f"Bearer {KEY}"]


def test_a_busy_endpoint_is_asked_again_as_late_as_it_wants(server: Endpoint) -> None:
    server.script(error(429, retry_after="7"), error(503), answer({"n": 3}))
    waits = Waits()
    found = ask(model(server, wait=waits))
    assert found.answer == {"n": 3}
    assert found.usage.calls == 3
    assert waits.seconds == [7.0, 1.0]


def test_an_endpoint_that_wants_more_patience_than_there_is_is_not_waited_for(
    server: Endpoint,
) -> None:
    server.script(error(429, retry_after="60"))
    waits = Waits()
    with pytest.raises(RateLimited) as caught:
        ask(model(server, wait=waits))
    assert waits.seconds == []
    assert caught.value.usage.calls == 1
    assert caught.value.usage.tokens_in == 0


@pytest.mark.parametrize(
    ("reply", "expected", "calls"),
    [
        (error(429), RateLimited, 3),
        (error(500), Unreachable, 3),
        (error(401), Declined, 1),
        (error(404), Declined, 1),
        (answer(None, refusal="I may not"), Refused, 1),
        (answer('{"n"', finish="content_filter"), Refused, 1),
        (answer('{"n": ', finish="length"), CutOff, 1),
        (answer("three"), Malformed, 1),
        (answer(None), Malformed, 1),
        (answer('{"n": NaN}'), Malformed, 1),
        (answer("[1, 2]"), Malformed, 1),
        (Reply({"error": {"message": "overloaded"}}), Malformed, 1),
        (Reply("{"), Unreachable, 1),
    ],
)
def test_every_failure_has_its_error(
    server: Endpoint, reply: Reply, expected: type[LanguageModelError], calls: int
) -> None:
    server.script(*[reply] * 3)
    with pytest.raises(LanguageModelError) as caught:
        ask(model(server))
    assert type(caught.value) is expected
    assert caught.value.usage.calls == calls == len(server.asked)


@pytest.mark.parametrize("content", ["three", '{"n": '])
def test_what_a_useless_answer_cost_is_told(server: Endpoint, content: str) -> None:
    server.script(answer(content, finish="length" if content.startswith("{") else "stop"))
    with pytest.raises(Malformed) as caught:
        ask(model(server))
    assert (caught.value.usage.tokens_in, caught.value.usage.tokens_out) == (1000, 200)
    assert caught.value.text == content


def test_the_time_limit_holds_for_the_whole_question_and_counts_as_the_worst_case(
    server: Endpoint,
) -> None:
    server.script(hang())
    with pytest.raises(TimedOut) as caught:
        ask(model(server), timeout=0.5)
    used = caught.value.usage
    assert used.guessed
    assert used.tokens_out == 64
    assert used.tokens_in > 0
    assert used.calls == 1


def test_nobody_listening_is_unreachable() -> None:
    away = OpenAIModel("small", api_key=None, base_url="http://127.0.0.1:9/v1", attempts=1)
    with pytest.raises(Unreachable):
        ask(away)


def test_an_endpoint_without_structured_output_gets_the_schema_in_words_from_then_on(
    server: Endpoint,
) -> None:
    server.script(
        error(400, "response_format is unknown"),
        error(422, "json_object is unknown"),
        answer('Sure!\n```json\n{"n": 3}\n```'),
        answer('{"n": 4}'),
    )
    ours = model(server)
    first = ask(ours)
    assert first.answer == {"n": 3}
    assert first.usage.calls == 3
    forms = [asked.get("response_format", {}).get("type") for asked in server.asked]
    assert forms == ["json_schema", "json_object", None]
    assert '"properties":{"n"' not in server.texts(0)
    assert '"properties":{"n"' in server.texts(1)
    assert ask(ours).usage.calls == 1
    assert "response_format" not in server.asked[-1]


def test_a_form_that_was_fixed_is_kept(server: Endpoint) -> None:
    server.script(error(400, "response_format is unknown"))
    with pytest.raises(Declined):
        ask(model(server, output="json"))
    assert server.asked[0]["response_format"] == {"type": "json_object"}


def test_models_that_want_the_newer_name_of_the_token_limit_get_it(server: Endpoint) -> None:
    server.script(
        error(400, "'max_tokens' is not supported. Use 'max_completion_tokens' instead."),
        answer({"n": 3}),
    )
    assert ask(model(server)).answer == {"n": 3}
    assert server.asked[1]["max_completion_tokens"] == 64
    assert "max_tokens" not in server.asked[1]
    assert server.asked[1]["response_format"]["type"] == "json_schema"


def test_thoughts_around_the_answer_are_left_out(server: Endpoint) -> None:
    server.script(answer('<think>{"n": 1} or {}?</think> {"n": 2, "why": "{"}'))
    assert ask(model(server)).answer == {"n": 2, "why": "{"}


def test_an_endpoint_that_counts_nothing_is_counted_for(server: Endpoint) -> None:
    server.script(answer({"n": 3}, usage=None))
    usage = ask(model(server)).usage
    assert usage.tokens_in > 0
    assert usage.tokens_out > 0


def test_the_key_shows_nowhere_but_in_its_header(server: Endpoint) -> None:
    server.script(error(401, f"Incorrect API key provided: {KEY}"), answer({"n": 3}))
    ours = model(server)
    with pytest.raises(Declined) as caught:
        ask(ours)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert KEY not in repr(ours)
    leaking = (Message("system", "Be brief."), Message("user", f"the key is {KEY}"))
    ours.complete(leaking, SCHEMA, max_tokens=64, timeout=20.0)
    assert KEY not in server.texts()


@pytest.mark.parametrize("url", ["", "localhost:8000/v1", "ftp://x/v1", "http://[::1", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="address"):
        OpenAIModel("small", api_key=None, base_url=url)


def test_a_model_needs_a_name() -> None:
    with pytest.raises(SettingsError, match="no name"):
        OpenAIModel("", api_key=None)
