"""Leases that are kept alive, and how their loss is noticed."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from agenticrs.platform.database import make_engine
from agenticrs.platform.errors import Conflict, LeaseLost
from agenticrs.registry import lease, schema


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path_factory.mktemp('lease') / 'r.db'}")
    schema.upgrade(made)
    yield made
    made.dispose()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def broken(*_: Any, **__: Any) -> bool:
    raise OperationalError("UPDATE lease", {}, Exception("the database is away"))


def test_who_holds_it_is_refused_to_others_until_it_is_given_back(engine: Engine) -> None:
    with lease.hold(engine, "a", 60) as held:
        held.check()
        assert lease.is_held(engine, "a")
        with pytest.raises(Conflict, match="taken: "), lease.hold(engine, "a", 60, busy="taken"):
            pass
        assert lease.is_held(engine, "a")
    assert not lease.is_held(engine, "a")


def test_somebody_elses_lease_is_noticed_at_the_next_beat(engine: Engine) -> None:
    held = lease.Held("b", 60)
    assert lease.acquire(engine, "b", "other:1:x", 60)
    held.beat(engine, "me:1:y")
    with pytest.raises(LeaseLost, match="other:1:x holds it"):
        held.check()
    assert lease.holder_of(engine, "b") == "other:1:x"


def test_a_database_that_is_away_for_a_while_costs_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    assert lease.acquire(engine, "c", "me:1:y", 60)
    held = lease.Held("c", 60, clock)
    clock.now = 40
    with monkeypatch.context() as patch:
        patch.setattr(lease, "renew", broken)
        held.beat(engine, "me:1:y")
        held.check()
    held.beat(engine, "me:1:y")
    clock.now = 99
    held.check()


def test_a_database_that_is_away_too_long_loses_the_lease_also_when_no_beat_says_so(
    engine: Engine,
) -> None:
    clock = Clock()
    held = lease.Held("d", 60, clock)
    clock.now = 59.9
    held.check()
    clock.now = 60
    with pytest.raises(LeaseLost, match="60 seconds"):
        held.check()


def test_a_lost_lease_is_not_given_back(engine: Engine) -> None:
    with lease.hold(engine, "e", 60) as held:
        mine = lease.holder_of(engine, "e")
        assert mine is not None
        lease.release(engine, "e", mine)
        assert lease.acquire(engine, "e", "other:1:x", 60)
        held.beat(engine, mine)
    assert lease.holder_of(engine, "e") == "other:1:x"


def test_only_a_dead_process_of_this_machine_is_known_to_be_dead(engine: Engine) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    here = socket.gethostname()
    assert lease.is_dead(f"{here}:{done.pid}:x")
    assert not lease.is_dead(lease.new_holder())
    assert not lease.is_dead(f"elsewhere:{done.pid}:x")
    assert not lease.is_dead("what is this")
    lease.acquire(engine, "f", f"{here}:{done.pid}:x", 600)
    assert not lease.is_held(engine, "f")
    with lease.hold(engine, "f", 60):
        pass


def test_an_expired_lease_is_nobodys(engine: Engine) -> None:
    lease.acquire(engine, "g", "elsewhere:1:x", -1)
    assert not lease.is_held(engine, "g")
    assert lease.acquire(engine, "g", "me:1:y", 60)
    assert not lease.renew(engine, "g", "elsewhere:1:x", 60)


def test_it_is_given_back_as_soon_as_the_database_answers_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, tried = lease.release, []

    def away_at_first(*given: Any) -> None:
        tried.append(given)
        if len(tried) < 3:
            broken()
        release(*given)

    monkeypatch.setattr(lease, "release", away_at_first)
    monkeypatch.setattr(lease, "_WAITS", (0.0, 0.0))
    with lease.hold(engine, "f", 60):
        pass
    assert len(tried) == 3
    assert lease.holder_of(engine, "f") is None


def test_a_database_that_stays_away_hides_no_error_of_the_block(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "release", broken)
    monkeypatch.setattr(lease, "_WAITS", (0.0,))
    with pytest.raises(LookupError, match="the block"), lease.hold(engine, "the block", 60):
        raise LookupError("the block")
