"""``agenticrs memory search``: by words, and by what worked on data like a dataset's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.evolution.conftest import World, build
from typer.testing import CliRunner

from agenticrs.evolution.remembering import statistics
from agenticrs.platform.database import session_scope
from agenticrs.platform.settings import load_settings
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.registry import memory
from agenticrs.registry.tables import MemoryRow
from agenticrs.ui import wiring
from agenticrs.ui.cli.main import app


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AGENTICRS_HOME", str(tmp_path))
    monkeypatch.setattr(wiring, "connect", lambda _: MemoryTracking(tmp_path / "mlflow"))
    return build(tmp_path, load_settings(home=tmp_path))


def searched(*words: str) -> list[dict[str, Any]]:
    answer = CliRunner().invoke(app, ["memory", "search", *words, "--json"])
    assert answer.exit_code == 0, answer.output
    found: list[dict[str, Any]] = json.loads(answer.output)
    return found


def test_what_worked_on_data_like_that_of_a_dataset_comes_first(world: World) -> None:
    like = statistics(world.services.datasets.load("generated"))
    far = {name: 1000 * value for name, value in like.items()}
    told: list[tuple[str, str, dict[str, float]]] = [
        ("alike", "better", like),
        ("elsewhere", "promoted", far),
        ("useless", "worse", like),
        ("newest", "approved", far),
    ]
    with session_scope(world.services.engine) as session:
        for proposal, verdict, data in told:
            row = MemoryRow(
                surface="home",
                agent="ease",
                key=proposal,
                origin="tpe",
                proposal=f"{proposal} l2",
                verdict=verdict,
                lesson="so it was",
                dataset="some",
                fingerprint="f",
                data=data,
            )
            assert memory.remember(session, row)

    def found(*words: str) -> list[str]:
        return [row["proposal"].removesuffix(" l2") for row in searched(*words)]

    assert found() == ["newest", "useless", "elsewhere", "alike"]
    assert found("--data", "generated") == ["alike", "newest", "elsewhere"]
    assert found("--data", "generated", "--verdict", "worse") == ["useless"]
    assert found("alike", "--data", "generated") == ["alike"]
    first, *_, last = searched("--data", "generated")
    assert (first["fit"], last["fit"]) == (1.0, 0.0)
    assert first["dataset"] == "some"


def test_a_dataset_that_is_not_stored_is_named(world: World) -> None:
    answer = CliRunner().invoke(app, ["memory", "search", "--data", "nothing"])
    assert answer.exit_code == 1
    assert "nothing" in answer.output
