"""Two replicas in real processes: one leads, and the other takes over when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.evolution.conftest import build

from agenticrs.evolution.scheduling import edits
from agenticrs.evolution.scheduling.scheduler import leader_lease
from agenticrs.platform.database import session_scope
from agenticrs.platform.settings import load_settings
from agenticrs.registry import audit, cycles, lease, promotion, schedules, trials

ROOT = Path(__file__).resolve().parents[3]


def wait_until(true: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.1)


@contextmanager
def replica(home: Path, shared: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with (home.parent / f"{home.name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.evolution.replica", home, shared],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def leader(engine: Engine) -> int | None:
    """Process number of who leads now."""
    holder = lease.holder_of(engine, leader_lease("home"))
    return int(holder.split(":")[1]) if holder else None


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="kills processes")
def test_when_the_leader_is_killed_in_a_cycle_the_other_one_goes_on_with_it(
    tmp_path: Path,
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    world = build(shared, load_settings(home=shared, trials=2))
    engine = world.services.engine
    with session_scope(engine) as session:
        edits.add(session, "home", "once", {"every_seconds": 86400}, who="ada")
        edits.run_now(session, "home", "once", who="ada", reason="now")

    def tried() -> int:
        with session_scope(engine) as session:
            return sum(trial.state == "done" for trial in trials.of_cycle(session, 1))

    def bootstrapped() -> bool:
        with session_scope(engine) as session:
            return cycles.get(session, 1).state == "done"

    def states() -> list[tuple[str, str]]:
        with session_scope(engine) as session:
            return [(run.cause, run.state) for run in schedules.runs(session, "home")][::-1]

    with (
        replica(tmp_path / "one", shared) as one,
        replica(tmp_path / "two", shared) as two,
    ):
        wait_until(lambda: tried() >= 2)
        first = leader(engine)
        by_number = {one.pid: (one, two), two.pid: (two, one)}
        assert first in by_number
        leads, follows = by_number[first]
        leads.send_signal(signal.SIGKILL)
        leads.wait()
        wait_until(bootstrapped)
        assert leader(engine) == follows.pid
    assert states()[0] == ("person", "cut off")
    assert states()[1][0] == "taken over"
    with session_scope(engine) as session:
        first_cycle = cycles.get(session, 1)
        tries = trials.of_cycle(session, 1)
        promoted = [entry.subject for entry in audit.entries(session, action="promote")]
        serving = promotion.serving(session, "home")
    # What the first one had begun was finished, not begun anew, and nothing happened twice.
    assert first_cycle.kind == "bootstrap"
    assert serving is not None
    assert promoted == [f"home composition {serving.number}"]
    assert len({trial.agent for trial in tries}) == len(tries)
