"""`agenticrs evolve`: kinds by their words, and an answer where no cycle is due."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from agenticrs.evolution.alternation import NothingDue
from agenticrs.ui import wiring
from agenticrs.ui.cli.main import app


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command where nothing is due; ``asked`` holds the kinds."""
    asked: list[Any] = []

    def evolve(kinds: Any, **_: Any) -> list[int]:
        asked.append(kinds)
        raise NothingDue("proposal 7 [home] waits", hint="decide it")

    controller = SimpleNamespace(evolve=evolve, services=SimpleNamespace(engine=None))
    monkeypatch.setattr(wiring, "build_controller", lambda settings, watch: controller)
    return SimpleNamespace(
        asked=asked, run=lambda *words: CliRunner().invoke(app, ["evolve", *words])
    )


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("both", ("individual", "compositional")),
        ("individual", ("individual",)),
        ("compositional", ("compositional",)),
        ("alternating", "alternating"),
    ],
)
def test_a_kind_is_asked_for_by_its_word(command: Any, word: str, kinds: Any) -> None:
    command.run("--kind", word)
    assert command.asked == [kinds]


def test_without_a_word_both_are_asked_for(command: Any) -> None:
    command.run()
    assert command.asked == [("individual", "compositional")]


def test_no_cycle_that_is_due_is_an_answer_and_no_failure(command: Any) -> None:
    found = command.run("--kind", "alternating")
    assert found.exit_code == 0
    assert "no cycle is due: proposal 7 [home] waits" in found.output
    assert "decide it" in found.output


def test_programs_get_an_empty_list(command: Any) -> None:
    found = command.run("--kind", "alternating", "--json")
    assert (found.exit_code, found.stdout.strip()) == (0, "[]")


def test_an_unknown_kind_names_the_known_ones(command: Any) -> None:
    found = command.run("--kind", "sideways")
    assert found.exit_code != 0
    assert "alternating" in found.output
    assert command.asked == []
