"""``agenticrs schedules`` and ``messages`` as people type them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.receivers import web_server
from typer.testing import CliRunner

from agenticrs.ui.cli.main import app

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a fresh home; returns its JSON, or its error with a code of its own."""
    monkeypatch.setenv("AGENTICRS_HOME", str(tmp_path))
    monkeypatch.setenv("AGENTICRS_MLFLOW_URI", "http://127.0.0.1:1")

    def call(*words: str, fails: bool = False) -> Any:
        found = CliRunner().invoke(app, [*words, "--json"])
        if fails:
            assert found.exit_code == 1, found.output
            return found.stderr
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)

    return call


def test_a_schedule_is_made_changed_and_removed(run: Run) -> None:
    made = run(
        *("schedules", "add", "nightly", "--cron", "30 2 * * 1-5", "--timezone", "Europe/Berlin"),
        *("--blackout", "2026-12-24", "--blackout", "daily 08:00-09:00", "--each"),
        *("--trials", "3", "--agent", "bpr", "--kind", "individual"),
    )
    spec = made["spec"]
    assert (spec["trials"], spec["agents"], spec["coalesce"]) == (3, ["bpr"], False)
    assert spec["blackouts"] == ["2026-12-24", "daily 08:00-09:00"]
    changed = run("schedules", "edit", "nightly", "--every", "7200", "--trials", "0", "--on-drift")
    assert changed["when"] == "every 2 h or drift"
    assert changed["spec"]["trials"] is None
    assert changed["spec"]["blackouts"] == spec["blackouts"], "what was not given stays"
    back = run("schedules", "edit", "nightly", "--cron", "0 3 * * *", "--blackout", "")
    assert (back["spec"]["every_seconds"], back["spec"]["blackouts"]) == (None, [])
    assert run("schedules", "pause", "nightly", "-r", "a release")["state"] == "paused"
    assert run("schedules", "run", "nightly", "-r", "now")["asked_by"]
    listed = run("schedules", "list")
    assert [one["name"] for one in listed["schedules"]] == ["nightly"]
    assert listed["leader"] is None
    assert len(listed["budget"]) == 6
    run("schedules", "remove", "nightly", "-r", "no longer")
    assert run("schedules", "list")["schedules"] == []


def test_a_refusal_names_the_field_and_says_what_to_do(run: Run) -> None:
    told = run("schedules", "add", "n", "--cron", "61 * * * *", "--timezone", "Mars", fails=True)
    assert "cron" in told
    assert "timezone" in told
    assert "next:" in told


def test_a_test_message_is_sent_now_and_its_fate_is_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "AGENTICRS_WEBHOOK_URL" in run("messages", "test", fails=True)
    with web_server([204, 500]) as hook:
        monkeypatch.setenv("AGENTICRS_WEBHOOK_URL", hook.url)
        monkeypatch.setenv("AGENTICRS_WEBHOOK_SECRET", "0123456789abcdef")
        (first,) = run("messages", "test")
        (second,) = run("messages", "test")
    assert first["deliveries"] == "webhook sent, attempt 1"
    assert second["deliveries"] == "webhook waiting, attempt 1: the receiver answered 500"
    assert len(run("messages", "list")) == 2
