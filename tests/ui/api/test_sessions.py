"""Sessions, by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from agenticrs.platform.database import make_engine, session_scope
from agenticrs.registry import accounts, logins, schema
from agenticrs.registry.tables import LoginRow
from agenticrs.ui.api.sessions import Sessions, same_token

KEY = b"k" * 48
PASSWORD = "correct horse battery"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    schema.upgrade(made)
    with session_scope(made) as session:
        accounts.create(session, "maria", PASSWORD, "approver")
        accounts.create(session, "admin", PASSWORD, "admin")
    yield made
    made.dispose()


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    return Sessions(KEY, engine)


class Clock:
    """A moment that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, time: timedelta) -> None:
        self.now += time


def test_a_cookie_is_read_back_and_its_token_is_the_sessions_own(sessions: Sessions) -> None:
    session, cookie = sessions.begin("maria")
    found = sessions.read(cookie)
    assert found is not None
    assert (found.name, found.id, found.csrf) == (session.name, session.id, session.csrf)
    assert found.role == "approver"
    other, _ = sessions.begin("maria")
    assert same_token(session, session.csrf)
    assert not same_token(session, other.csrf)


def test_every_login_is_a_new_session(sessions: Sessions) -> None:
    assert sessions.begin("maria")[0].id != sessions.begin("maria")[0].id


@pytest.mark.parametrize("cookie", [None, "", "x", "a.b.c"])
def test_what_was_not_signed_is_nobody(sessions: Sessions, cookie: str | None) -> None:
    assert sessions.read(cookie) is None


def test_a_cookie_of_another_key_or_changed_is_nobody(engine: Engine, sessions: Sessions) -> None:
    _, cookie = Sessions(b"o" * 48, engine).begin("admin")
    assert sessions.read(cookie) is None
    _, own = sessions.begin("admin")
    assert sessions.read("A" + own[1:]) is None


def test_the_cookie_of_a_login_form_is_nobodys_session(sessions: Sessions) -> None:
    _, cookie = sessions.begin()
    found = sessions.read(cookie)
    assert found is not None
    assert (found.name, found.role) == ("", "")


def test_an_ended_session_stays_ended_in_every_replica_and_others_do_not(
    engine: Engine, sessions: Sessions
) -> None:
    session, cookie = sessions.begin("maria")
    _, other = sessions.begin("maria")
    sessions.end(session)
    for replica in (sessions, Sessions(KEY, engine)):
        assert replica.read(cookie) is None
        assert replica.read(other) is not None


def test_a_session_ends_when_nothing_is_done_and_at_the_latest_after_twelve_hours(
    engine: Engine,
) -> None:
    clock = Clock()
    sessions = Sessions(KEY, engine, clock)
    _, idle = sessions.begin("maria")
    clock.wait(logins.IDLE - timedelta(seconds=1))
    assert sessions.read(idle, counts=False) is not None, "an open page is nobody's doing"
    clock.wait(timedelta(seconds=2))
    assert sessions.read(idle) is None
    _, busy = sessions.begin("maria")
    hours = 0.0
    while sessions.read(busy) is not None:
        clock.wait(timedelta(minutes=30))
        hours += 0.5
    assert hours == 12.5


def test_what_ran_out_is_forgotten(engine: Engine) -> None:
    clock = Clock()
    sessions = Sessions(KEY, engine, clock)
    for _ in range(3):
        sessions.begin("maria")
    clock.wait(logins.LONGEST + timedelta(seconds=1))
    sessions.begin("maria")
    with session_scope(engine) as session:
        assert len(session.exec(select(LoginRow)).all()) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda s: accounts.set_role(s, "maria", "viewer", who="admin", reason="left the team"),
        lambda s: accounts.set_password(s, "maria", "another long one", who="admin"),
        lambda s: accounts.set_active(s, "maria", False, who="admin", reason="left"),
    ],
)
def test_another_role_or_password_and_a_closed_account_end_every_session(
    engine: Engine, sessions: Sessions, change: Callable[..., object]
) -> None:
    cookies = [sessions.begin("maria")[1] for _ in range(2)]
    _, others = sessions.begin("admin")
    with session_scope(engine) as session:
        change(session)
    assert [sessions.read(cookie) for cookie in cookies] == [None, None]
    assert sessions.read(others) is not None


def test_the_database_does_not_hold_what_a_cookie_holds(engine: Engine, sessions: Sessions) -> None:
    session, _ = sessions.begin("maria")
    with session_scope(engine) as registry:
        (row,) = registry.exec(select(LoginRow)).all()
    assert session.id not in row.model_dump_json()
