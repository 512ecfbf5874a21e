"""A small installation that runs unattended, for ``soak.py``: its processes, and how they die.

``agenticrs up`` with its embedded MLflow, on a PostgreSQL and a Ray cluster of one node. Whoever
looks after it here does what an init system would do: it starts ``up`` again when that is gone, and
so the other two (``soak_kept.py``), and nothing else.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from soak_kept import Node, free_port, kept, kill_one, marked, postmaster, until
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from agenticrs.agents import catalogue
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.registry import accounts, agents, schema, tokens
from agenticrs.registry.admission import AdmissionReport
from agenticrs.registry.roles import Role, Scope

COMMAND = Path(sys.executable).with_name("agenticrs")
AGENTS = ("popularity", "itemknn", "bpr", "rrf", "score_fusion", "history_router")
MARK = "AGENTICRS_SOAK_PROCESSES_OF"
SCHEDULE = "soak"
PEOPLE: dict[str, tuple[Role, Scope]] = {
    "olga": ("operator", "operate"),
    "ann": ("approver", "approve"),
}
VICTIMS = ("controller", "worker", "mlflow", "database", "node", "postgres")
_START_WITHIN = 300.0


class Place:
    """A home, its database, its ``agenticrs up``, and the API that people and surfaces use."""

    def __init__(self, home: Path, database: str, seed: int) -> None:
        self.home, self.database = home, database
        self.port, self.mlflow_port = free_port(), free_port()
        self.starts = 0
        self.refusals: dict[str, int] = {}
        """What the API answered instead of what it was asked for, and how often."""
        self._up: subprocess.Popen[bytes] | None = None
        self._outside = create_engine(
            database.replace("postgresql://", "postgresql+psycopg://"),
            pool_pre_ping=True,
            connect_args={"application_name": "outside"},
        )
        self.env = {
            **os.environ,
            "AGENTICRS_HOME": str(home),
            "AGENTICRS_DATABASE_URL": database,
            "AGENTICRS_PORT": str(self.port),
            "AGENTICRS_MLFLOW_PORT": str(self.mlflow_port),
            "AGENTICRS_REQUESTS_PER_MINUTE": "0",
            "AGENTICRS_SEED": str(seed),
            "AGENTICRS_TRIALS": "2",
            "AGENTICRS_SIMULATED_USERS": "0",
            "AGENTICRS_CONFIRM_SEEDS": "1",
            # On so few users hardly anything is certain; here it is to be promoted often.
            "AGENTICRS_ALPHA": "0.7",
            "AGENTICRS_COVERAGE_FLOOR": "0.01",
            "AGENTICRS_LATENCY_LIMIT_MS": "60000",
            MARK: str(home),
        }
        self._tokens: dict[str, str] = {}
        self._node: Node | None = None

    @contextmanager
    def ray(self) -> Iterator[None]:
        """The cluster that ``up`` joins."""
        self._node = node = Node(self.home, self.env)
        self.env |= {**node.env, "AGENTICRS_RAY_ADDRESS": node.address}
        try:
            with kept(node.start, node.alive):
                yield
        finally:
            node.stop()

    def prepare(self, users: int, items: int, seed: int) -> None:
        """Data, admitted agents, an operator and an approver with their tokens."""
        size = ["--users", str(users), "--items", str(items), "--seed", str(seed)]
        self.command("data", "generate", *size)
        engine = make_engine(self.database)
        schema.upgrade(engine)
        installed = catalogue.installed()
        with session_scope(engine) as session:
            for name in AGENTS:
                report = AdmissionReport(checks=[], admitted=True)
                agents.record(session, installed.agents[name].spec, report, installed.sources[name])
            for name, (role, scope) in PEOPLE.items():
                accounts.create(session, name, f"password of {name}", role)
                issued = tokens.issue(
                    session, owner=name, name="soak", scopes=("read", scope), days=9, who="soak"
                )
                self._tokens[name] = issued[1]
        engine.dispose()

    def command(self, *arguments: str) -> Any:
        """What ``agenticrs ... --json`` answers."""
        done = subprocess.run(
            [COMMAND, *arguments, "--json"],
            env=self.env,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode not in (0, 1) or not done.stdout:
            raise RuntimeError(f"{arguments}: {done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def start(self) -> None:
        """Start ``agenticrs up`` until it stays; as an init system: again, when it goes."""
        deadline = time.monotonic() + _START_WITHIN
        while True:
            self.starts += 1
            with (self.home / "up.log").open("ab") as log:
                self._up = subprocess.Popen(
                    [COMMAND, "up"],
                    env=self.env,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            while self.alive and not self.healthy():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"`agenticrs up` does not answer: see {self.home}/up.log")
                time.sleep(0.2)
            if self.alive:
                return
            time.sleep(1)

    @property
    def alive(self) -> bool:
        """Whether the ``agenticrs up`` that was started last runs."""
        return self._up is not None and self._up.poll() is None

    @property
    def pid(self) -> int:
        """Of ``agenticrs up``."""
        return 0 if self._up is None else self._up.pid

    def healthy(self) -> bool:
        """Whether the API answers; 503 where nothing serves yet is an answer, too."""
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it as a person would, and wait until nothing of it is left."""
        if self.alive and self._up is not None:
            self._up.send_signal(signal.SIGTERM)
            self._up.wait(120)
        until(
            lambda: not self.mlflow_processes(), 60, lambda: f"left over: {self.mlflow_processes()}"
        )

    def ask(self, who: str, method: str, path: str, body: object = None, tries: int = 1) -> Any:
        """An answer of the API, or None after ``tries``; ``up`` is started again when gone."""
        headers = {"content-type": "application/json"}
        if who:
            headers["authorization"] = f"Bearer {self._tokens[who]}"
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            headers,
            method=method,
        )
        for attempt in range(tries):
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                what = re.sub(r"\d+", "N", path.partition("?")[0].removeprefix("/v1"))
                what = f"{method} {what}: {error.code}"
                self.refusals[what] = self.refusals.get(what, 0) + 1
            except (OSError, ValueError):  # not there, or gone in the middle
                pass
            if not self.alive:
                self.start()
            if attempt + 1 < tries:
                time.sleep(0.5)
        return None

    def rows(self, query: str, **values: object) -> list[Any]:
        """What a person with a database shell sees; the connection may be killed under us, too."""
        for attempt in range(60):
            try:
                with self._outside.connect() as connection:
                    return list(connection.execute(text(query), values))
            except OperationalError:
                if attempt == 59:
                    raise
                time.sleep(0.5)
        raise AssertionError

    def processes(self) -> dict[int, str]:
        """Ids and commands of all that ``up`` has started, wherever it hangs by now."""
        return marked(MARK, str(self.home))

    def mlflow_processes(self) -> dict[int, str]:
        """Those of its MLflow: the guard, the server, its worker."""
        found = self.processes().items()
        return {p: c for p, c in found if "mlflow server" in c or "mlflow.server" in c}

    def kill(self, victim: str, draw: random.Random) -> str:
        """``kill -9`` of one of its processes; return which, or "" when there was none."""
        if victim == "database":
            return self._kill_connection(draw)
        if victim == "controller":
            targets = {self.pid: "agenticrs up"} if self.alive else {}
        elif victim == "mlflow":
            targets = self.mlflow_processes()
        elif victim == "node":
            targets = {} if self._node is None else self._node.parts()
        elif victim == "postgres":
            server = postmaster(self.home.parent)
            targets = {} if server is None else {server: "the whole PostgreSQL"}
        else:
            all_workers = {p: c for p, c in self.processes().items() if c.startswith("ray::")}
            busy = {p: c for p, c in all_workers.items() if "agenticrs" in c}
            idle = {p: c for p, c in all_workers.items() if "IDLE" in c}
            targets = busy or idle
        return kill_one(targets, draw)

    def _kill_connection(self, draw: random.Random) -> str:
        """The server's process of one connection: then the whole server recovers, as it must."""
        found = self.rows(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND application_name <> 'outside'"
        )
        if not found:
            return ""
        if draw.random() < 0.5:
            self.rows(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND application_name <> 'outside'"
            )
            return f"all {len(found)} connections closed by the server"
        with suppress(ProcessLookupError):
            os.kill(draw.choice(sorted(pid for (pid,) in found)), signal.SIGKILL)
            return "process of a connection: the server recovers"
        return ""


def memory_of(pids: list[int]) -> dict[str, float]:
    """MiB of these processes together: resident, and of that what belongs to nobody else."""
    totals = {"resident": 0.0, "anonymous": 0.0}
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in ("VmRSS", "RssAnon"):
                    key = "resident" if name == "VmRSS" else "anonymous"
                    totals[key] += int(value.split()[0]) / 1024
    return {name: round(value, 1) for name, value in totals.items()}
