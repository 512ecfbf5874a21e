"""Logs go to stderr, as text or JSON, above their level, and without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import SecretStr

from agenticrs.platform.logs import configure, get_logger, mask_secrets
from agenticrs.platform.settings import Settings


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_json_logs_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_json=True))
    get_logger("agenticrs.test").info("trial done", agent="bpr", seconds=3.5)
    out, err = capsys.readouterr()
    assert out == ""
    event = json.loads(err)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "trial done",
        "level": "info",
        "logger": "agenticrs.test",
        "agent": "bpr",
        "seconds": 3.5,
    }


def test_text_logs_name_the_event_and_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings())
    get_logger("agenticrs.test").warning("worker lost", job="a/1")
    err = capsys.readouterr().err
    assert "worker lost" in err
    assert "job=a/1" in err


@pytest.mark.parametrize("json_lines", [True, False])
def test_no_secret_reaches_the_log(json_lines: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_json=json_lines))
    log = get_logger("agenticrs.test")
    log.info(
        "connecting to postgresql://me:hunter2@db/x",
        password="hunter2",
        settings={"api_key": "hunter2", "deep": [{"token": "hunter2"}]},
        wrapped=SecretStr("hunter2"),
        url="https://me:hunter2@host",
    )
    logging.getLogger("some.library").warning("using %s", "https://me:hunter2@host")
    try:
        raise ValueError("cannot reach https://me:hunter2@host")
    except ValueError:
        log.exception("failed")
    err = capsys.readouterr().err
    assert "hunter2" not in err
    assert "@db/x" in err
    assert "some.library" in err
    assert "ValueError" in err


def test_what_is_less_severe_than_the_level_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(Settings(log_level="WARNING"))
    get_logger("agenticrs.test").info("too quiet")
    logging.getLogger("alembic").info("too quiet")
    assert capsys.readouterr().err == ""


def test_configuring_twice_does_not_log_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings())
    configure(Settings())
    get_logger("agenticrs.test").info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_counts_of_tokens_and_keys_of_jobs_stay() -> None:
    event = {"event": "call", "tokens": 512, "key": "cycle-1/bpr/3"}
    assert mask_secrets(None, "info", dict(event)) == event
