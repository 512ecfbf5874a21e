"""Failed logins: how many are too many, for how long, and that every process counts them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from agenticrs.platform.database import make_engine, session_scope
from agenticrs.registry import schema
from agenticrs.registry.failed_logins import WINDOW
from agenticrs.registry.tables import FailedLoginRow
from agenticrs.ui.api import attempts as limits
from agenticrs.ui.api.attempts import LoginAttempts

KEY = b"k" * 48
HERE, THERE = "10.0.0.1", "10.0.0.2"


class Clock:
    """A moment that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    schema.upgrade(made)
    yield made
    made.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tries(engine: Engine, clock: Clock) -> LoginAttempts:
    return LoginAttempts(engine, KEY, clock)


def test_failures_count_for_a_while_and_a_success_forgives(
    tries: LoginAttempts, clock: Clock
) -> None:
    for _ in range(limits.MOST_PER_NAME_AND_ADDRESS):
        assert tries.wait("maria", HERE) == 0
        tries.failed("maria", HERE)
    assert 0 < tries.wait("maria", HERE) <= WINDOW.total_seconds() + 1
    assert tries.wait("maria", THERE) == 0, "elsewhere she may still log in"
    assert tries.wait("bob", HERE) == 0, "and others here"
    clock.now += WINDOW
    assert tries.wait("maria", HERE) == 0
    for _ in range(limits.MOST_PER_NAME_AND_ADDRESS - 1):
        tries.failed("maria", HERE)
    tries.succeeded("maria", HERE)
    tries.failed("maria", HERE)
    assert tries.wait("maria", HERE) == 0


def test_replicas_count_together_and_a_restart_forgets_nothing(
    engine: Engine, clock: Clock
) -> None:
    one, other = (LoginAttempts(engine, KEY, clock) for _ in range(2))
    for number in range(limits.MOST_PER_NAME_AND_ADDRESS):
        (one, other)[number % 2].failed("maria", HERE)
    for process in (one, other, LoginAttempts(engine, KEY, clock)):
        assert process.wait("maria", HERE) > 0


def test_one_address_cannot_try_many_names_nor_many_addresses_one_name(
    tries: LoginAttempts,
) -> None:
    for number in range(limits.MOST_PER_ADDRESS):
        tries.failed(f"name{number}", HERE)
    assert tries.wait("fresh", HERE) > 0
    assert tries.wait("", HERE) > 0, "nor tokens"
    for number in range(limits.MOST_PER_NAME):
        tries.failed("maria", f"10.1.0.{number}")
    assert tries.wait("maria", "10.9.9.9") > 0


def test_wrong_tokens_slow_down_their_address_and_no_other(tries: LoginAttempts) -> None:
    for number in range(limits.MOST_PER_NAME + 1):
        tries.failed("", f"10.1.0.{number}")
    for _ in range(limits.MOST_PER_NAME_AND_ADDRESS):
        tries.failed("", HERE)
    assert tries.wait("", HERE) > 0
    assert tries.wait("", THERE) == 0, "a stranger must not lock out everybody's scripts"
    assert tries.wait("maria", HERE) == 0
    for number in range(limits.MOST_PER_ADDRESS - limits.MOST_PER_NAME_AND_ADDRESS):
        tries.failed(f"name{number}", HERE)
    assert tries.wait("maria", HERE) > 0, "tokens and names count together for an address"


def test_the_wait_ends_when_enough_failures_are_old(tries: LoginAttempts, clock: Clock) -> None:
    for _ in range(limits.MOST_PER_NAME_AND_ADDRESS):
        tries.failed("maria", HERE)
        clock.now += timedelta(seconds=10)
    seconds = WINDOW.total_seconds() - 10 * limits.MOST_PER_NAME_AND_ADDRESS
    assert tries.wait("maria", HERE) == seconds + 1
    clock.now += timedelta(seconds=seconds)
    assert tries.wait("maria", HERE) == 0


def test_what_is_kept_is_few_and_tells_nobody_what_was_typed(
    engine: Engine, tries: LoginAttempts, clock: Clock
) -> None:
    for number in range(30):
        tries.failed(f"my-password-{number}", f"10.0.0.{number}")
    clock.now += WINDOW
    tries.failed("my-password", HERE)
    with session_scope(engine) as session:
        (row,) = session.exec(select(FailedLoginRow)).all()
    assert "password" not in row.model_dump_json()
    LoginAttempts(engine, b"another key", clock).failed("my-password", HERE)
    with session_scope(engine) as session:
        assert len({row.name for row in session.exec(select(FailedLoginRow))}) == 2
