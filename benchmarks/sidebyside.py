"""Runs our side and a peer's in turn, several pairs, and keeps medians and their ratio.

Peers live in an environment of their own (``.bench/``), made at first use: nothing of them is a
dependency. A peer's script reads its task, warms up, and then runs once for every line it is sent.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import torch

HERE = Path(__file__).parent
ENVIRONMENT = HERE.parent / ".bench"
RESULTS = HERE / "results"
_TIMES = ("seconds", "cpu_seconds")


def peer_python(packages: tuple[str, ...]) -> Path:
    """The interpreter of the peers' environment, with these packages in it."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    pinned = HERE / "peers" / "constraints.txt"
    command = [python, "-m", "pip", "install", "--quiet", "--constraint", pinned, *packages]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:
        sys.exit(f"peers cannot be installed: {done.stderr.decode()[-500:]}")
    return python


def checkout(url: str, folder: Path) -> Path:
    """``folder`` itself, with the repository in it: cloned where there is none yet."""
    if not folder.exists():
        command = ["git", "clone", "--quiet", "--depth=1", url, folder]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode:
            sys.exit(f"{url} cannot be cloned, put it into {folder}: {done.stderr.decode()[-500:]}")
    return folder


@dataclass
class Peer:
    """A process that runs the peer once for every call. ``script`` lies in ``peers/``."""

    script: str
    packages: tuple[str, ...]
    arguments: tuple[str, ...]
    threads: int
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def __enter__(self) -> Peer:
        python = peer_python(self.packages)
        limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        self._process = subprocess.Popen(
            [python, HERE / "peers" / self.script, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(limits, str(self.threads))},
        )
        self._answer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.communicate()

    def once(self) -> dict[str, float]:
        """Run once: ``seconds``, and whatever else the script tells."""
        _stream(self._process, "stdin").write("go\n")
        _stream(self._process, "stdin").flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        line = _stream(self._process, "stdout").readline()
        if not line:
            sys.exit(f"the peer's script {self.script} ended early")
        found: dict[str, float] = json.loads(line)
        return found


def _stream(process: subprocess.Popen[str] | None, name: str) -> IO[str]:
    stream: IO[str] | None = getattr(process, name, None)
    if stream is None:
        raise RuntimeError("the peer was not started")
    return stream


def pairs(ours: Callable[[], Mapping[str, float]], peer: Peer, count: int) -> dict[str, Any]:
    """Both sides in turn, ``count`` times after one warm-up of ours: medians and their ratio.

    A side that is more than what counts tells its ``seconds`` itself. Where both also tell their
    ``cpu_seconds``, these are compared, too: they are the same on a machine that is shared.
    """
    ours()
    mine: list[float] = []
    theirs: list[float] = []
    processor: list[tuple[float, float]] = []
    told: Mapping[str, float] = {}
    answered: Mapping[str, float] = {}
    for _ in range(count):
        begin = time.perf_counter()
        told = ours()
        mine.append(told.get("seconds", time.perf_counter() - begin))
        answered = peer.once()
        theirs.append(answered["seconds"])
        if "cpu_seconds" in told and "cpu_seconds" in answered:
            processor.append((told["cpu_seconds"], answered["cpu_seconds"]))
    own, other = statistics.median(mine), statistics.median(theirs)
    row = {
        "ours_seconds": round(own, 5),
        "peer_seconds": round(other, 5),
        "ratio": round(other / own, 2),
        "pairs": count,
        "ours": {k: v for k, v in told.items() if k not in _TIMES},
        "peer": {k: v for k, v in answered.items() if k not in _TIMES},
    }
    if processor:
        own, other = (statistics.median(side) for side in zip(*processor, strict=True))
        row |= {
            "ours_cpu_seconds": round(own, 5),
            "peer_cpu_seconds": round(other, 5),
            "cpu_ratio": round(other / own, 2),
        }
    return row


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Keep the rows of a comparison (in place of those of the same task and peer); print them."""
    file = RESULTS / f"{name}.json"
    old = json.loads(file.read_text()) if file.exists() else {"rows": []}
    run = ("command", "commit", "threads", "torch")
    new = {"command": _command(), "commit": _commit(), **_machine()}
    kept = {(row["task"], row["name"]): {k: old[k] for k in run} | row for row in old["rows"]}
    kept |= {(row["task"], row["name"]): {k: new[k] for k in run} | row for row in rows}
    keep(name, list(kept.values()))
    for row in rows:
        print(
            f"{row['task']:42} ours {row['ours_seconds']:9.4f} s   {row['name']:10} "
            f"{row['peer_seconds']:9.4f} s   ratio {row['ratio']:.2f}"
            + (f", of processor time {row['cpu_ratio']:.2f}" if "cpu_ratio" in row else "")
        )


def keep(name: str, rows: list[dict[str, Any]]) -> None:
    """Keep the rows of a benchmark, with what decides about them."""
    content = {"command": _command(), "commit": _commit(), **_machine(), "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def _command() -> str:
    return " ".join(["python", *sys.argv])


def _commit() -> str:
    return subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()


def _machine() -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
