"""Sessions and attempts, by themselves."""

from __future__ import annotations

import pytest

from agenticrs.ui.api import attempts as limits
from agenticrs.ui.api.attempts import LoginAttempts
from agenticrs.ui.api.sessions import LIFETIME, Sessions, same_token

KEY = b"k" * 48


def test_a_cookie_is_read_back_and_its_token_is_the_sessions_own() -> None:
    sessions = Sessions(KEY)
    session, cookie = sessions.begin("maria")
    found = sessions.read(cookie)
    assert found == session
    other, _ = sessions.begin("maria")
    assert same_token(session, session.csrf)
    assert not same_token(session, other.csrf)


def test_every_login_is_a_new_session() -> None:
    sessions = Sessions(KEY)
    assert sessions.begin("maria")[0].id != sessions.begin("maria")[0].id


@pytest.mark.parametrize("cookie", [None, "", "x", "a.b.c"])
def test_what_was_not_signed_is_nobody(cookie: str | None) -> None:
    assert Sessions(KEY).read(cookie) is None


def test_a_cookie_of_another_key_or_changed_is_nobody() -> None:
    _, cookie = Sessions(b"o" * 48).begin("admin")
    assert Sessions(KEY).read(cookie) is None
    _, own = Sessions(KEY).begin("admin")
    assert Sessions(KEY).read("A" + own[1:]) is None


def test_an_ended_session_stays_ended_and_others_do_not() -> None:
    now = [0.0]
    sessions = Sessions(KEY, clock=lambda: now[0])
    session, cookie = sessions.begin("maria")
    _, other = sessions.begin("maria")
    sessions.end(session)
    assert sessions.read(cookie) is None
    assert sessions.read(other) is not None


def test_old_ends_are_forgotten_when_their_cookies_cannot_count_any_more() -> None:
    now = [0.0]
    sessions = Sessions(KEY, clock=lambda: now[0])
    for _ in range(3):
        sessions.end(sessions.begin("maria")[0])
    now[0] = LIFETIME + 1
    sessions.end(sessions.begin("maria")[0])
    assert len(sessions._ended) == 1


def test_failures_count_for_a_while_and_a_success_forgives() -> None:
    now = [0.0]
    tries = LoginAttempts(clock=lambda: now[0])
    for _ in range(limits.MOST_PER_NAME_AND_ADDRESS):
        assert tries.wait("maria", "10.0.0.1") == 0
        tries.failed("maria", "10.0.0.1")
    assert tries.wait("maria", "10.0.0.1") > 0
    assert tries.wait("maria", "10.0.0.2") == 0, "elsewhere she may still log in"
    now[0] = limits.WINDOW + 1
    assert tries.wait("maria", "10.0.0.1") == 0
    tries.failed("maria", "10.0.0.1")
    tries.succeeded("maria", "10.0.0.1")
    assert tries.wait("maria", "10.0.0.1") == 0


def test_one_address_cannot_try_many_names_nor_many_addresses_one_name() -> None:
    tries = LoginAttempts(clock=lambda: 0.0)
    for i in range(limits.MOST_PER_ADDRESS):
        tries.failed(f"name{i}", "10.0.0.1")
    assert tries.wait("fresh", "10.0.0.1") > 0
    for i in range(limits.MOST_PER_NAME):
        tries.failed("maria", f"10.1.0.{i}")
    assert tries.wait("maria", "10.9.9.9") > 0


def test_memory_of_failures_is_bounded_by_time() -> None:
    now = [0.0]
    tries = LoginAttempts(clock=lambda: now[0])
    for i in range(100):
        tries.failed(f"name{i}", f"10.0.0.{i}")
    now[0] = limits.WINDOW + 1
    tries.wait("x", "y")
    assert not tries._failures
