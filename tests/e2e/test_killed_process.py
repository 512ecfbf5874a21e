"""The real command, killed with SIGKILL in the middle of its trials, and started again."""

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

COMMAND = Path(sys.executable).with_name("agenticrs")
AGENTS = ("popularity", "itemknn", "ease", "mmr", "rrf", "history_router")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Place:
    """A home, the commands on it, and its registry as anybody may read it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {**os.environ, "AGENTICRS_HOME": str(home), "AGENTICRS_TRIALS": "2"}

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

    def killed_when(self, done: Callable[[], bool]) -> None:
        """Evolve until the condition holds; then nothing of the process is left."""
        process = subprocess.Popen(
            [COMMAND, "evolve"],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 300
        while not done():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end, "it never got there"
            threading.Event().wait(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)


def test_what_was_finished_stays_and_what_was_open_is_done_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run("data", "generate", "--users", "300", "--items", "100")
    place.run("agents", "admit", *AGENTS)
    finished = "SELECT id, agent, number, reward FROM trial WHERE state = 'done' ORDER BY id"
    individual = "SELECT id FROM cycle WHERE kind = 'individual'"

    def in_the_middle() -> bool:
        cycle = place.rows(individual)
        return bool(cycle) and len(place.rows(finished)) >= len(AGENTS) + 2

    place.killed_when(in_the_middle)
    before = place.rows(finished)
    promoted = place.rows("SELECT id, key FROM promotion")
    (cut,) = place.rows(individual)
    assert place.rows(f"SELECT state FROM cycle WHERE id = {cut[0]}") == [("running",)]

    place.run("evolve")
    assert place.rows(individual) == [cut], "the cut-off cycle goes on, no other one begins"
    assert [row for row in place.rows(finished) if row in before] == before
    numbers = place.rows("SELECT cycle_id, agent, number, count(*) FROM trial GROUP BY 1, 2, 3")
    assert all(count == 1 for *_, count in numbers)
    states = {state for (state,) in place.rows("SELECT DISTINCT state FROM trial")}
    assert states <= {"done", "pruned", "failed"}
    keys = [key for (key,) in place.rows("SELECT key FROM promotion")]
    assert len(keys) == len(set(keys))
    assert place.rows("SELECT id, key FROM promotion")[: len(promoted)] == promoted
    assert {c["state"] for c in place.run("cycles", "list")} <= {"done", "waiting"}
