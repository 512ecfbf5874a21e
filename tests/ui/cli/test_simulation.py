"""`agenticrs simulate`: fitted users of what serves, and some that a language model plays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.llm_server import Endpoint, Reply, answer, endpoint
from typer.testing import CliRunner

from agenticrs.agents.simulation import network
from agenticrs.evolution.services import Services
from agenticrs.platform import settings
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.ui import wiring
from agenticrs.ui.cli.main import app


@pytest.fixture
def command(place: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command on the place, with users that are fitted in a few steps."""
    services = Services(place.engine, place.tracking, place.datasets, place.settings, InlineRunner)
    monkeypatch.setattr(wiring, "build_services", lambda settings: services)
    monkeypatch.setattr(network, "_STEPS", 20)

    def run(*words: str, **changed: Any) -> Any:
        mine = place.settings.model_copy(update=changed)
        monkeypatch.setattr(settings, "load_settings", lambda: mine)
        return CliRunner().invoke(app, ["simulate", *words])

    return run


def told_by(done: Any) -> dict[str, Any]:
    """What a command printed as JSON, behind lines of the log."""
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{\n") :])
    return found


@pytest.fixture
def server() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


def everything(asked: dict[str, Any]) -> Reply:
    """Watches the whole page and leaves."""
    entry = asked["response_format"]["json_schema"]["schema"]["properties"]["entries"]["items"]
    places = entry["properties"]["place"]["enum"]
    entries = [{"place": p, "thought": "", "watched": 1.0, "reactions": []} for p in places]
    body = {"entries": entries, "feeling": "fine", "satisfaction": 7, "leaves_after": len(places)}
    return answer(body)


def test_fitted_users_are_told_by_signal(command: Any) -> None:
    told = told_by(command("--users", "30", "--days", "2", "--json"))
    assert (told["users"], told["days"], told["composition"]) == (30, 2, 1)
    assert told["signals"]["visits"] >= 1
    assert "language_model" not in told
    assert "what users did" in command("--users", "30", "--days", "1").stdout


def test_a_model_plays_some_of_them(command: Any, server: Endpoint) -> None:
    def next_reply(asked: dict[str, Any], key: str) -> Reply:
        server.asked.append(asked)
        return everything(asked)

    server.next_reply = next_reply  # type: ignore[method-assign]
    words = ("--users", "30", "--days", "1", "--llm-users", "3")
    given = {"llm_models": "small", "llm_base_url": server.base_url}
    told = told_by(command(*words, "--json", **given))["language_model"]
    assert told["model"] == "small"
    assert told["decided"]["model"] == 3
    assert told["spent"]["calls"] == 6, "as many held-out users are examined"
    assert [one["users"] for one in told["trust"]] == ["language model", "fitted"]
    assert all(0 < one["score"] < 1 and one["on"] == 3 for one in told["trust"])
    assert "they inform only" in told["says"], "an ordering of recommenders is asked of everybody"
    assert {one["signal"] for one in told["differences"]} >= {"watch_time", "satisfaction"}
    pages = next(one for one in told["differences"] if one["signal"] == "pages")
    assert pages["played"] == 1.0
    again = command(*words, **given)
    assert "the same users" in again.stdout
    assert "beside what they really did" in again.stdout
    assert len(server.asked) == 6, "what was paid for is kept"


@pytest.mark.parametrize("words", [(), ("--model", "large")])
def test_without_a_model_nothing_is_fitted_first(command: Any, words: tuple[str, ...]) -> None:
    done = command("--llm-users", "3", *words, llm_models="small" if words else None)
    assert done.exit_code == 1
    assert "AGENTICRS_LLM_MODELS" in done.stderr
