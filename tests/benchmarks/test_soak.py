"""The soak in small: its plan, the growth of memory, its picture, and that its checks can fail."""

from __future__ import annotations

import importlib
import random
import sqlite3
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sqlalchemy import Engine, text
from sqlmodel import col, select

from agenticrs.platform.database import make_engine, session_scope
from agenticrs.registry import audit, schema
from agenticrs.registry.tables import AuditRow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("soak")


@pytest.fixture
def checks(soak: Any) -> Any:
    return importlib.import_module("soak_checks")


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    made = make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    schema.upgrade(made)
    yield made
    made.dispose()


class Place:
    """A home whose registry is a file, and whose MLflow is two tables."""

    def __init__(self, home: Path, engine: Engine) -> None:
        self.home, self._engine = home, engine
        with sqlite3.connect(home / "mlflow.db") as mlflow:
            mlflow.executescript(
                "CREATE TABLE model_versions (name, version, run_id);"
                "CREATE TABLE runs (status);"
                "CREATE TABLE registered_model_aliases (name, alias, version);"
            )
        mlflow.close()

    def rows(self, query: str) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(text(query)))

    def mlflow(self, statement: str) -> None:
        with sqlite3.connect(self.home / "mlflow.db") as connection:
            connection.execute(statement)
        connection.close()

    def command(self, *_: str) -> Any:
        with session_scope(self._engine) as session:
            found = audit.verify(session)
        return {"entries": found.entries, "problem": found.problem}


@pytest.fixture
def place(tmp_path: Path, engine: Engine) -> Place:
    return Place(tmp_path, engine)


def test_the_plan_is_the_same_for_a_seed_and_spares_up_at_the_end(soak: Any) -> None:
    plans = [soak.plan(100, random.Random(seed)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    of_up = [n for n, kills in enumerate(plans[0]) for k in kills if k.victim == "controller"]
    assert of_up
    assert max(of_up) < 67
    assert {k.victim for kills in plans[0] for k in kills} == set(soak.VICTIMS)


def test_growth_is_that_within_one_life_of_a_process(soak: Any) -> None:
    memory = [
        {"cycles": 2 * n, "start": n // 20, "up": {"resident": 500.0 - 100 * (n // 20) + 0.5 * n}}
        for n in range(40)
    ]
    found = soak.growth(memory, "up", "start", "resident")
    assert found["slope"] == pytest.approx(0.25)
    assert found["low"] <= found["slope"] <= found["high"]
    assert found["rounds"] == 2 * 16
    assert soak.growth(memory[:9], "up", "start", "resident") == {}


def test_the_picture_has_a_line_for_each_life_and_a_mark_for_each_kill(soak: Any) -> None:
    memory = [
        {
            "cycles": 2 * n,
            "start": n // 5,
            "mlflow_pid": 1,
            "controller": {"resident": 400.0},
            "mlflow": {"resident": 500.0},
        }
        for n in range(10)
    ]
    killed = [{"victim": "worker", "cycles": 4}, {"victim": "database", "cycles": 8}]
    drawn = ElementTree.fromstring(soak.soak_picture.draw(memory, killed))
    tags = [element.tag.partition("}")[2] for element in drawn.iter()]
    assert (tags.count("polyline"), tags.count("path")) == (3, 2)


def test_a_version_on_one_side_alone_is_named(checks: Any, place: Place) -> None:
    figures: dict[str, Any] = {}
    assert checks._versions(place, figures) == []
    place.mlflow("INSERT INTO model_versions VALUES ('home.bpr', 3, 'run')")
    assert checks._versions(place, figures) == ["home.bpr version 3 is in MLflow alone"]
    assert figures["versions in MLflow"] == 1


def test_a_champion_that_moved_without_a_promotion_is_seen(checks: Any, place: Place) -> None:
    checks.watch_aliases(place.home)
    champion = "'home.composition', 'champion'"
    place.mlflow(f"INSERT INTO registered_model_aliases VALUES ({champion}, 2)")
    place.mlflow("UPDATE registered_model_aliases SET version = 2")
    assert checks._mlflow(place, "SELECT version FROM soak_move") == [(2,)]
    (wrong,) = checks._promotions(place, {})
    assert wrong == "champion went [2], the promotions say []"


def test_the_chain_is_hashed_from_the_rows_and_an_entry_that_was_touched_is_found(
    checks: Any, place: Place, engine: Engine
) -> None:
    for n in range(3):
        with session_scope(engine) as session:
            audit.record(session, who="ada", action="test", subject=f"{n}", after={"n": n})
    digests = place.rows("SELECT digest FROM audit ORDER BY id")
    with session_scope(engine) as session:
        rows = [
            row.model_dump() for row in session.exec(select(AuditRow).order_by(col(AuditRow.id)))
        ]
    hashed = []
    for said in rows:
        said.pop("digest")
        hashed.append(checks._hash(said))
        assert checks._hash({**said, "who": "eve"}) != hashed[-1]
    assert hashed == [digest for (digest,) in digests]
