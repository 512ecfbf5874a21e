"""The real command, killed while it evaluates: its Ray goes with it, and the next start goes on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agenticrs.agents import catalogue
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.registry import agents, schema
from agenticrs.registry.admission import AdmissionReport

COMMAND = Path(sys.executable).with_name("agenticrs")
AGENTS = ("popularity", "itemknn", "bpr", "rrf", "history_router")
SEARCHED = ("bpr", "itemknn", "popularity")
TRIALS = 2
MARK = "AGENTICRS_TEST_PROCESSES_OF"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc"),
]


class Place:
    """A home, the commands on it, and its registry as anybody may read it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {
            **os.environ,
            "AGENTICRS_HOME": str(home),
            "AGENTICRS_TRIALS": str(TRIALS),
            "AGENTICRS_SIMULATED_USERS": "0",
            # All that there are: one trial after the other, so that there is a middle to hit.
            "AGENTICRS_CPUS_PER_TRIAL": "1000",
            MARK: str(home),
        }

    def run(self, *arguments: str) -> Any:
        done = subprocess.run(
            [COMMAND, *arguments, "--json"],
            env=self.env,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.home}/registry.db?mode=ro", uri=True)) as found:
            return found.execute(query).fetchall()

    def furnish(self) -> None:
        """What ``data generate`` and ``agents admit`` would leave, which are tested elsewhere."""
        raw = generate(GeneratorConfig(n_users=150, n_items=60)).raw
        DatasetStore(self.home / "data").save("generated", raw)
        engine = make_engine(f"sqlite:///{self.home}/registry.db")
        schema.upgrade(engine)
        installed = catalogue.installed()
        with session_scope(engine) as session:
            for name in AGENTS:
                report = AdmissionReport(checks=[], admitted=True)
                agents.record(session, installed.agents[name].spec, report, installed.sources[name])
        engine.dispose()

    def processes(self) -> dict[int, str]:
        """Ids and commands of what our commands have started, wherever it hangs by now."""
        wanted = f"{MARK}={self.home}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = command.decode(errors="replace")[:120]
            except OSError:  # it has ended meanwhile, or is nobody's business of ours
                continue
        return found


def until(done: Callable[[], bool], what: Callable[[], str], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, what()
        threading.Event().wait(0.05)


def test_killed_while_it_evaluates_it_takes_its_ray_along_and_goes_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.furnish()
    step = (
        "SELECT s.state FROM cycle_step s JOIN cycle c ON c.id = s.cycle_id"
        " WHERE c.kind = 'individual' AND s.name = 'evaluate'"
    )
    finished = "SELECT id, cycle_id, agent, number, config, reward FROM trial WHERE state = 'done'"
    one_done = f"{finished} AND cycle_id = (SELECT id FROM cycle WHERE kind = 'individual')"

    process = subprocess.Popen(
        [COMMAND, "evolve", "--kind", "individual"],
        env=place.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:

        def in_the_middle() -> bool:
            assert process.poll() is None, "it ended before it could be killed"
            return place.rows(step) == [("running",)] and bool(place.rows(one_done))

        until(in_the_middle, lambda: f"never evaluated: {place.rows(step)}", 240)
        os.kill(process.pid, signal.SIGSTOP)  # it writes nothing more while we look around
        started = place.processes()
        assert any("raylet" in command for command in started.values()), "it has worked without Ray"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    until(lambda: not place.processes(), lambda: f"left over: {place.processes()}", 60)

    before = place.rows(finished)
    assert place.rows(step) == [("running",)]
    assert len(place.rows(one_done)) < len(SEARCHED) * TRIALS, "it was over already"
    cycles = place.rows("SELECT id, kind FROM cycle ORDER BY id")
    assert [kind for _, kind in cycles] == ["bootstrap", "individual"]
    promotions = place.rows("SELECT id, after, state, key FROM promotion")
    assert [state for _, _, state, _ in promotions] == ["done"]

    place.run("evolve", "--kind", "individual")
    assert place.rows("SELECT id, kind FROM cycle ORDER BY id") == cycles, "no other cycle begins"
    assert {state for (state,) in place.rows("SELECT state FROM cycle")} == {"done"}
    steps = place.rows("SELECT cycle_id, name, state, attempts FROM cycle_step")
    assert {state for _, _, state, _ in steps} == {"done"}
    again = [(cycle, name) for cycle, name, _, attempts in steps if attempts > 1]
    assert again == [(cycles[1][0], "evaluate")], "what was done is not done again"
    assert [row for row in place.rows(finished) if row in before] == before
    searched = place.rows(
        "SELECT agent, count(*), count(DISTINCT number) FROM trial"
        f" WHERE cycle_id = {cycles[1][0]} GROUP BY agent ORDER BY agent"
    )
    assert searched == [(agent, TRIALS, TRIALS) for agent in SEARCHED]
    states = {state for (state,) in place.rows("SELECT state FROM trial")}
    assert states <= {"done", "pruned"}
    later = place.rows("SELECT id, after, state, key FROM promotion")
    assert later[:1] == promotions
    assert len(later) <= 2, "at most that of the cycle that went on"
    until(lambda: not place.processes(), lambda: f"left over: {place.processes()}", 60)
