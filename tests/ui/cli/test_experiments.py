"""``agenticrs experiments``: from the plan over files of users to the end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.ui import wiring
from agenticrs.ui.cli.main import app

run = CliRunner()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTICRS_HOME", str(tmp_path))
    monkeypatch.setattr(wiring, "connect", lambda _: MemoryTracking(tmp_path / "mlflow"))
    return tmp_path


def told(*words: str, piped: str | None = None) -> str:
    answer = run.invoke(app, ["experiments", *words], input=piped)
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_an_experiment_by_command(home: Path) -> None:
    arms = ("--treatment", "calm", "--control", "dense", "--guardrail", "leaving=0.1")
    begun = json.loads(told("begin", "Does it help?", *arms, "-r", "people leave", "--json"))
    assert (begun["state"], begun["horizon"]) == ("running", 14)
    given = list(csv.DictReader(told("arms", "1", piped="\n".join("abcdefgh")).splitlines()))
    assert {row["arm"] for row in given} == {"treatment", "control"}
    file = home / "day.csv"
    rows = [f"u{n},{1 + n % 3},{n % 2},{n % 3}" for n in range(60)]
    file.write_text("\n".join(["user,reward,leaving,before", *rows]))
    shown = json.loads(told("observe", "1", str(file), "--json"))
    assert (shown["step"], shown["explained"]) == (1, pytest.approx(1.0))
    again = run.invoke(app, ["experiments", "observe", "1", str(file)])
    assert again.exit_code == 1
    assert "has counted" in again.output
    file.write_text("user,reward,leaving\nu99,much,0\n")
    wrong = run.invoke(app, ["experiments", "observe", "1", str(file)])
    assert "line 2" in wrong.output
    assert json.loads(told("stop", "1", "-r", "enough", "--json"))["state"] == "stopped"
    assert "Does it help?" in told("list")
    assert "experiment_orchestrator at its defaults" in told("show", "1")
