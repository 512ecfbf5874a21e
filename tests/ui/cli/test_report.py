"""`agenticrs report`: rows that can be compared, the stored card, and what is wrong with a name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from agenticrs.evolution.report_card import shelf
from agenticrs.evolution.report_card.card import Dimension, Figure
from agenticrs.evolution.services import Services
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.ui import wiring
from agenticrs.ui.cli.main import app
from agenticrs.ui.cli.report import rows_of


def test_figures_of_one_name_stand_together_and_keep_their_order() -> None:
    figures = [("calls", "ease"), ("milliseconds", "ease"), ("calls", "rrf"), ("calls", "mmr")]
    dimension = Dimension(
        key="coordination",
        title="Coordination",
        figures=tuple(Figure(of=of, name=name, value=1.0, how="counted") for name, of in figures),
    )
    rows = rows_of(dimension)
    assert [row["of"] for row in rows] == ["ease", "rrf", "mmr", "ease"]
    assert {row["how it was measured"] for row in rows} == {"counted"}


def test_an_interval_is_shown_where_there_is_one() -> None:
    known = Figure(name="a", value=0.5, low=0.25, high=0.75, how="h")
    unknown = Figure(name="b", value=None, how="not measured")
    rows = rows_of(Dimension(key="k", title="t", figures=(known, unknown)))
    assert [row["interval"] for row in rows] == ["0.2500 .. 0.7500", ""]
    assert rows[1]["value"] is None


@pytest.fixture
def command(place: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command on the place; jobs in this process."""
    services = Services(place.engine, place.tracking, place.datasets, place.settings, InlineRunner)
    monkeypatch.setattr(wiring, "build_services", lambda settings: services)
    return lambda *words: CliRunner().invoke(app, ["report", *words])


def test_the_command_measures_what_serves_and_keeps_the_card(place: Any, command: Any) -> None:
    answer = command("--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["composition"] == 1
    card = shelf.load(place.settings.home, "home", 1)
    assert card is not None
    assert card.model_dump(mode="json") == told
    assert place.logged_in().get("/reports/1").text.count("<section") == 5


def test_the_command_prints_five_tables(command: Any) -> None:
    answer = command("2", "--shapley")
    assert answer.exit_code == 0, answer.output
    for title in ("Task quality", "Coordination", "Faults and change", "People", "Economy"):
        assert title in answer.stdout
    assert "Shapley value" in answer.stdout
    assert "/reports/2" in answer.stdout


def test_an_unknown_composition_is_an_error_with_a_next_step(command: Any) -> None:
    answer = command("99")
    assert answer.exit_code == 1
    assert "no composition 99" in answer.output
