"""The registry's database: SQLite in WAL mode, or PostgreSQL by its URL.

On both, a transaction sees what others committed before each of its statements (read committed);
whoever reads, decides and writes must guard the write by a constraint or a condition. This module
knows no tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import StaticPool
from sqlmodel import Session

from agenticrs.platform.errors import SettingsError
from agenticrs.platform.masking import masked

BUSY_SECONDS = 30
"""How long a writer waits for another one on SQLite."""


def make_engine(url: str) -> Engine:
    """Engine for ``sqlite:///path``, ``sqlite://`` (memory) or ``postgresql://...``.

    The folder of an SQLite file is made; a PostgreSQL server is not asked yet.

    Raises:
        SettingsError: when the URL is malformed or names another kind of database.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _refused(url) from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite(parsed)
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        # A server that restarted must not fail the first request after it: ping before use.
        return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    raise _refused(url)


@contextmanager
def session_scope(engine: Engine) -> Iterator[Session]:
    """A session that commits at the end and rolls back on an error.

    Rows stay readable after the end: they are not expired by the commit.
    """
    with Session(engine, expire_on_commit=False) as session:
        yield session
        session.commit()


def is_away(error: BaseException) -> bool:
    """Whether the same may succeed later: no answer, a lost connection, none free, a locked file.

    SQLite calls a statement that it cannot run operational, too; that is nobody's outage.
    """
    if isinstance(error, OperationalError):
        return getattr(error.orig, "sqlite_errorname", "") != "SQLITE_ERROR"
    if isinstance(error, DBAPIError):
        return error.connection_invalidated  # whatever the driver calls it
    return isinstance(error, PoolTimeout)


def _sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        # Every connection to a memory database is a new one: all threads share a single one.
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        Path(str(url.database)).expanduser().parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
    event.listen(engine, "connect", _tune)
    return engine


def _tune(connection: sqlite3.Connection, _record: Any) -> None:
    # In WAL mode readers do not wait for the writer, and NORMAL loses no commit to a killed
    # process (only, perhaps, the last ones to a power cut; the file stays whole).
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _refused(url: str) -> SettingsError:
    return SettingsError(
        f"database_url {masked(url)!r} is not usable",
        hint="give sqlite:///path/to/file.db or postgresql://user:password@host/database",
    )
