"""The audit log is a chain: whoever goes behind the database's back is found, and by name."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session, select

from agenticrs.platform.database import make_engine, session_scope
from agenticrs.registry import audit, schema
from agenticrs.registry.tables import AuditRow

Change = Callable[[sqlite3.Connection], object]


def write(engine: Engine, *subjects: str) -> None:
    for subject in subjects:
        with session_scope(engine) as session:
            audit.record(
                session,
                who="ada",
                action="promote",
                subject=subject,
                reason="Überraschung \u2603",
                before={"composition": None, "share": 0.1},
                after={"composition": 2, "nested": {"b": [1, 2.5], "a": True}},
            )


def checked(engine: Engine, digest: str | None = None) -> audit.Verdict:
    with session_scope(engine) as session:
        return audit.verify(session, digest)


def test_an_untouched_chain_holds_and_tells_its_last_digest(engine: Engine) -> None:
    assert checked(engine) == audit.Verdict(0, "")
    write(engine, "one", "two", "three")
    with session_scope(engine) as session:
        rows = session.exec(select(AuditRow).order_by(AuditRow.id)).all()  # type: ignore[arg-type]
    assert [row.previous for row in rows] == ["", rows[0].digest, rows[1].digest]
    assert checked(engine) == audit.Verdict(3, rows[2].digest)
    assert checked(engine, rows[0].digest).broken is None


def test_writers_at_the_same_time_make_one_chain(engine: Engine) -> None:
    start = threading.Barrier(4)

    def work(name: int) -> None:
        start.wait()
        write(engine, *(f"{name}-{i}" for i in range(5)))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = checked(engine)
    assert (found.entries, found.broken) == (20, None)


def test_what_is_taken_back_leaves_no_gap(engine: Engine) -> None:
    write(engine, "one")

    def fail(session: Session) -> None:
        audit.record(session, who="bob", action="try", subject="nothing")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), session_scope(engine) as session:
        fail(session)
    write(engine, "two")
    found = checked(engine)
    assert (found.entries, found.broken) == (2, None)


def test_no_second_entry_may_follow_the_same_one(engine: Engine) -> None:
    write(engine, "one", "two")
    with session_scope(engine) as session:
        first = session.get_one(AuditRow, 1)
    forged = AuditRow(
        id=9, who="eve", action="promote", subject="x", previous=first.digest, digest="d"
    )
    with pytest.raises(DatabaseError), session_scope(engine) as session:
        session.add(forged)


def recomputed(connection: sqlite3.Connection) -> None:
    """A change with a fitting digest of its own: the next entry gives it away."""
    connection.execute("UPDATE audit SET who = 'eve' WHERE id = 2")
    connection.execute("UPDATE audit SET digest = ? WHERE id = 2", ("f" * 64,))


TAMPERINGS: dict[str, tuple[Change, int, str]] = {
    "a changed reason": (
        lambda c: c.execute("UPDATE audit SET reason = 'because' WHERE id = 2"),
        2,
        "entry 2 was changed",
    ),
    "a changed number": (
        lambda c: c.execute("UPDATE audit SET after = replace(after, '2', '3') WHERE id = 3"),
        3,
        "entry 3 was changed",
    ),
    "another time": (
        lambda c: c.execute("UPDATE audit SET at = '2020-01-01 00:00:00.000000' WHERE id = 1"),
        1,
        "entry 1 was changed",
    ),
    "a digest of its own": (recomputed, 2, "entry 2 was changed"),
    "an entry taken out": (
        lambda c: c.execute("DELETE FROM audit WHERE id = 2"),
        2,
        "entry 2 is missing",
    ),
    "the last one cut off": (
        lambda c: c.execute("DELETE FROM audit WHERE id = 4"),
        4,
        "entries after 3 are missing",
    ),
    "everything cut off": (
        lambda c: c.execute("DELETE FROM audit"),
        1,
        "entries after 0 are missing",
    ),
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_a_file_that_was_touched_behind_the_triggers_is_found_by_its_first_entry(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "registry.db"
    engine = make_engine(f"sqlite:///{path}")
    schema.upgrade(engine)
    write(engine, "one", "two", "three", "four")
    engine.dispose()
    change, broken, problem = TAMPERINGS[how]
    with closing(sqlite3.connect(path)) as connection:
        with pytest.raises(sqlite3.Error, match="append-only"):
            change(connection)
        connection.execute("DROP TRIGGER audit_refuses_update")
        connection.execute("DROP TRIGGER audit_refuses_delete")
        change(connection)
        connection.commit()
    found = checked(engine)
    assert (found.broken, found.problem) == (broken, problem)
    engine.dispose()


def test_a_chain_that_was_rewritten_from_the_start_lacks_a_digest_that_was_kept(
    tmp_path: Path,
) -> None:
    true, forged = (make_engine(f"sqlite:///{tmp_path / name}.db") for name in ("true", "forged"))
    for engine in (true, forged):
        schema.upgrade(engine)
    write(true, "one", "two")
    write(forged, "one", "forged")
    kept = checked(true).digest
    assert checked(true, kept).broken is None
    assert "all was rewritten" in checked(forged, kept).problem
    for engine in (true, forged):
        engine.dispose()
