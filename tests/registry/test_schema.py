"""The schema: made by migrations, upgraded with data in it, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, Column, DateTime, Engine, MetaData, String, text
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlmodel import SQLModel, select

from agenticrs.platform.database import session_scope
from agenticrs.registry import audit, canaries, lease, schema
from agenticrs.registry.tables import CanaryRow, TrialRow, VersionRow


@pytest.fixture
def engine(empty_database: Engine) -> Engine:
    return empty_database


def test_rows_of_the_first_schema_survive_the_upgrade(engine: Engine) -> None:
    schema.upgrade(engine, "0001")
    old = MetaData()
    old.reflect(engine)
    said = {"who": "ada", "action": "test", "reason": "", "before": {}, "after": {"n": 1.5}}
    entry = old.tables["audit"].insert()
    now = datetime(2026, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
    with engine.begin() as connection:
        for number, subject in ((3, "long ago"), (7, "before the upgrade")):  # with a gap
            connection.execute(entry.values(id=number, at=now, subject=subject, **said))
    schema.upgrade(engine)
    schema.upgrade(engine)
    assert schema.current(engine) == "0013"
    with session_scope(engine) as session:
        audit.record(session, who="ada", action="test", subject="after it")
        subjects = [entry.subject for entry in audit.entries(session)]
        assert subjects == ["after it", "before the upgrade", "long ago"]
        found = audit.verify(session)
        assert (found.entries, found.broken) == (3, None), "what was there is chained"
    with engine.connect() as connection, pytest.raises(DatabaseError, match="append-only"):
        connection.execute(text("DELETE FROM audit"))


def test_a_registry_that_has_evolved_is_upgraded_with_all_its_rows(engine: Engine) -> None:
    schema.upgrade(engine, "0003")
    old = MetaData()
    old.reflect(engine)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    cycle = {"surface": "home", "kind": "individual", "state": "done"}
    data = {"dataset": "log", "fingerprint": "f", "seed": 0}
    trial = {"cycle_id": 1, "agent": "ease", "number": 0, "method": "given", "state": "done"}
    spec = {"name": "ease", "kind": "model", "role": "retrieval"}
    rows: dict[str, dict[str, Any]] = {
        "cycle": {"id": 1, **cycle, **data},
        "trial": {"id": 7, **trial, **data},
        "agent": spec,
        "agent_version": {"id": 3, "agent": "ease", "number": 1, "trial_id": 7},
    }
    with engine.begin() as connection:
        for name, row in rows.items():
            columns = old.tables[name].columns
            filled = {c.name: _plain(c, now) for c in columns if not c.nullable and c.name != "id"}
            connection.execute(old.tables[name].insert().values({**filled, **row}))
    schema.upgrade(engine)
    with session_scope(engine) as session:
        assert session.get_one(TrialRow, 7).agent == "ease"
        assert session.exec(select(VersionRow.trial_id)).all() == [7]
    with engine.begin() as connection, pytest.raises(IntegrityError):  # links are kept again
        connection.execute(text("DELETE FROM trial"))


def _plain(column: Column[Any], now: datetime) -> Any:
    kind = column.type
    if isinstance(kind, DateTime):
        return now
    if isinstance(kind, JSON):
        return {}
    return "" if isinstance(kind, String) else 0


def test_the_migrations_make_what_the_models_say(engine: Engine) -> None:
    schema.upgrade(engine)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE studies (id INTEGER)"))  # Optuna's stay alone
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": schema.VERSION_TABLE,
                "include_object": lambda o, name, kind, r, c: (
                    kind != "table" or name in SQLModel.metadata.tables
                ),
            },
        )
        assert compare_metadata(context, SQLModel.metadata) == []


def test_leases_work_on_every_database(engine: Engine) -> None:
    schema.upgrade(engine)
    assert lease.acquire(engine, "l", "one", 60)
    assert not lease.acquire(engine, "l", "two", 60)
    lease.release(engine, "l", "one")
    assert lease.acquire(engine, "l", "two", 60)


def test_answers_of_a_canary_add_up_on_every_database(engine: Engine) -> None:
    schema.upgrade(engine)
    row = CanaryRow(
        surface="home",
        key="one",
        before=1,
        after=2,
        state="running",
        ladder={},
        share=0.1,
        salt="salt",
        horizon=100.0,
        dataset="d",
        feedback_from=0,
        who="ada",
        reason="",
        cause="",
    )
    with session_scope(engine) as session:
        row = canaries.begin(session, row)
    first = canaries.Exposure("eve", True, 1000, milliseconds=5.0)
    late = canaries.Exposure("eve", True, 1101, milliseconds=50.0)
    for met in (first, canaries.Exposure("eve", False, 1050, 2, 1.0), late):
        with session_scope(engine) as session:
            canaries.expose(session, row, [met])
    with session_scope(engine) as session:
        (due,) = canaries.due(session, row, 1100.0)
    assert (due.candidate, due.answers, due.milliseconds) == (True, 3, 2.0)
