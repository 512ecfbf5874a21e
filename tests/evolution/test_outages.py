"""Services that are away: what counts as that, how long it is waited for, what a cycle does."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from agenticrs.evolution import outages
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import JobError, JobsAway, TrackingAway, TrackingError
from agenticrs.registry import cycles, lease, promotion

if TYPE_CHECKING:
    from tests.evolution.conftest import World


def raised(do: Callable[[], Any]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (whichever it is)
        do()
    return caught.value


def test_a_locked_file_is_an_outage_and_a_wrong_statement_is_none(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'r.db'}")
    with engine.connect() as one, engine.connect() as other:
        other.execute(text("PRAGMA busy_timeout = 0"))
        one.execute(text("BEGIN IMMEDIATE"))
        locked = raised(lambda: other.execute(text("BEGIN IMMEDIATE")))
        wrong = raised(lambda: other.execute(text("SELECT * FROM nowhere")))
    engine.dispose()
    assert isinstance(wrong, OperationalError)
    assert isinstance(wrong.orig, sqlite3.OperationalError)
    assert (outages.is_outage(locked), outages.is_outage(wrong)) == (True, False)


def test_a_postgresql_that_nobody_runs_is_an_outage() -> None:
    engine = make_engine("postgresql://nobody@127.0.0.1:1/nothing")
    assert outages.is_outage(raised(engine.connect))


def test_mlflow_that_says_no_is_no_outage() -> None:
    assert outages.is_outage(TrackingAway("no answer"))
    assert not outages.is_outage(TrackingError("there is no such version"))


def test_a_ray_that_was_lost_is_an_outage_and_a_wrong_job_is_none() -> None:
    assert outages.is_outage(JobsAway("lost"))
    assert not outages.is_outage(JobError("two jobs have the key 'a'"))


def test_it_is_tried_again_after_longer_and_longer_waits_until_it_works() -> None:
    failing = [TrackingAway("away"), TrackingAway("away")]
    waits: list[float] = []

    def do() -> str:
        if failing:
            raise failing.pop()
        return "done"

    assert outages.through(do, pause=waits.append) == "done"
    assert waits == list(outages.WAITS[:2])


def test_what_is_wrong_is_not_tried_again_and_what_stays_away_not_for_ever() -> None:
    tried: list[Exception] = []

    def do(error: Exception) -> None:
        tried.append(error)
        raise error

    with pytest.raises(TrackingError):
        outages.through(lambda: do(TrackingError("no")), pause=lambda _: None)
    assert len(tried) == 1
    with pytest.raises(TrackingAway):
        outages.through(lambda: do(TrackingAway("away")), pause=lambda _: None)
    assert len(tried) == 2 + len(outages.WAITS)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "WAITS", (0.0,))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("lasts", [1, 2], ids=["is waited for", "cuts it off"])
def test_an_outage_never_makes_a_cycle_fail(
    world: World, monkeypatch: pytest.MonkeyPatch, lasts: int
) -> None:
    left, promote = [lasts], promotion.promote

    def away(*given: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise TrackingAway("nobody answers")
        return promote(*given, **named)

    monkeypatch.setattr(promotion, "promote", away)
    if lasts == 2:
        with pytest.raises(TrackingAway):
            world.controller().evolve(("individual",))
        with session_scope(world.services.engine) as session:
            assert [row.state for row in cycles.list_all(session)] == ["running"]
            assert lease.holder_of(world.services.engine, "evolve:home") is None
        world.controller().resume()
    else:
        world.controller().evolve(())
    with session_scope(world.services.engine) as session:
        (row,) = cycles.list_all(session)
        attempts = {step.name: step.attempts for step in cycles.steps(session, row.id or 0)}
        served = promotion.history(session, "home")
    assert (row.kind, row.state, len(served)) == ("bootstrap", "done", 1)
    assert (attempts["evaluate"], attempts["promote"]) == (1, 1 + lasts)
