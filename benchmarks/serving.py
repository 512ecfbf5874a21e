"""Requests a second and latencies of the API, beside the bare torch model in a plain FastAPI app.

    OMP_NUM_THREADS=1 python benchmarks/serving.py [--pairs 5] [--seconds 2] [--keep]

Both serve one SASRec (generated platform, 3,000 items, width 64, two layers, 50 items of history)
from the same files, with uvicorn, uvloop and httptools, each in a process of its own; before
anything is timed they must give the same lists. ``bare`` is what one would write first
(``serving_bare.py``). ``ours`` is the whole API around a composition of that one agent
(``serving_place.py``), ``graph`` around one with a second retriever and fusion, which does
more than the model alone. A process of its own asks, over keep-alive connections, each client one
request after another; the sides take turns, several times. Beside latency the server's processor
time for each request is told: it is much the same on a machine that is shared. In ``swap`` the
champion changes twice a second while 8 clients ask.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sidebyside import keep

CLIENTS = (1, 8, 64)
USERS = 2000
K = 10
FIGURES = ("per_second", "p50_ms", "p99_ms", "cpu_ms")
HERE = Path(__file__)


def people_of(home: Path) -> list[str]:
    """Users with a history: the bare model has no answer for others."""
    found: list[str] = json.loads((home / "users.json").read_text())
    return found


def build(home: Path) -> None:
    """Train the model (one epoch: speed does not depend on it) and keep its files."""
    from agenticrs.agents.agent import Budget
    from agenticrs.agents.artifact import pack
    from agenticrs.agents.catalogue import build as build_agent
    from agenticrs.agents.training_data import TrainingData
    from agenticrs.platform.data.generated import GeneratorConfig, generate
    from agenticrs.platform.data.store import DatasetStore

    platform = generate(GeneratorConfig(n_users=USERS, n_items=3000, events_per_user=40))
    dataset = DatasetStore(home / "data").save("generated", platform.raw)
    rows = dataset.interactions
    active = sorted({int(user) for user in rows.user[dataset.is_positive(rows)]})
    (home / "users.json").write_text(json.dumps([str(dataset.user_ids[u]) for u in active]))
    for name, config in (
        ("sasrec", {"epochs": 1, "embedding_size": 64, "max_length": 50}),
        ("itemknn", {}),
        ("rrf", {}),
    ):
        agent = build_agent(name, config, seed=0, device="cpu")
        agent.fit(TrainingData.of(dataset), Budget())
        for path, content in pack(agent, ("sasrec", "itemknn") if name == "rrf" else ()).items():
            file = home / "agents" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def serve(kind: str, home: Path, port: int) -> None:
    """A server's process."""
    import uvicorn

    app: Any
    if kind == "bare":
        from serving_bare import bare

        app = bare(home)
    else:
        from serving_place import api

        app = api(home, home / f"registry-{kind}-{port}", fused=kind.startswith("graph"))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


class Server:
    """One side, in a process of its own until the block ends."""

    def __init__(self, kind: str, home: Path) -> None:
        self.kind, self._home = kind, home
        self._somebody = people_of(home)[0]

    def __enter__(self) -> Server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, HERE, "--serve", self.kind, "--home", self._home]
        _, _, wait = self.kind.partition("@")
        waits = {"AGENTICRS_BATCH_WAIT_MS": wait} if wait else {}
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port)], env={**os.environ, **waits}
        )
        while True:
            try:
                self.ask(self._somebody)
                return self
            except urllib.error.HTTPError as error:
                sys.exit(f"the server {self.kind} answers {error.code}: {error.read()[:500]!r}")
            except OSError:
                if self._process.poll() is not None:
                    sys.exit(f"the server {self.kind} ended early")
                time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def ask(self, user: str) -> list[str]:
        """The ids that it shows a user."""
        found = self._post("/v1/recommend", {"user_id": user, "k": K})
        return [item["id"] for item in found["items"]]

    def swap(self) -> None:
        """Make the other composition the champion."""
        self._post("/swap", {})

    def processor_seconds(self) -> float:
        """What its process has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def load(self, clients: int, seconds: float, every: float | None = None) -> dict[str, Any]:
        """Ask it for some seconds; swap ``every`` so many of them."""
        before = self.processor_seconds()
        command = [sys.executable, HERE.parent / "serving_load.py", self.port, clients, seconds]
        asking = subprocess.Popen(
            [*map(str, command), self._home / "users.json"], stdout=subprocess.PIPE, text=True
        )
        if every is not None:
            while asking.poll() is None:
                time.sleep(every)
                self.swap()
        text = asking.communicate()[0]
        found: dict[str, Any] = json.loads(text)
        used = self.processor_seconds() - before
        return found | {"cpu_ms": 1000 * used / found["requests"]}

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def compare(sides: list[Server], clients: int, pairs: int, seconds: float) -> list[dict[str, Any]]:
    """The sides in turn: medians, and medians of the ratios to the first in the same round."""
    rounds = [[side.load(clients, seconds) for side in sides] for _ in range(pairs)]
    rows = []
    for place, side in enumerate(sides):
        mine = [one[place] for one in rounds]
        row: dict[str, Any] = {"side": side.kind, "clients": clients, "rounds": pairs}
        row |= {"failed": sum(one["failed"] for one in mine)}
        for name in FIGURES:
            row[name] = round(statistics.median(one[name] for one in mine), 3)
            if place:
                ratio = statistics.median(one[place][name] / one[0][name] for one in rounds)
                row[f"{name}_ratio"] = round(ratio, 2)
        rows.append(row)
        print(" ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return rows


def swapped(side: Server, seconds: float) -> dict[str, Any]:
    """What requests meet while the champion changes twice a second."""
    found = side.load(8, seconds, every=0.5)
    row = {"side": side.kind, "clients": 8, "swap": True}
    row |= {name: round(found[name], 3) for name in ("requests", "failed", *FIGURES)}
    row |= {"compositions": found["compositions"], "full": found["full"]}
    print(" ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return row


def main() -> None:
    """Measure all sides, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    sides = "bare, ours, graph; ours@5: where requests may wait 5 ms for others"
    parser.add_argument("--sides", nargs="+", default=["bare", "ours", "graph"], help=sides)
    parser.add_argument("--keep", action="store_true", help="write results/serving.json")
    parser.add_argument("--home", type=Path, help="where models are kept between runs")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.home, args.port)
        return
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = args.home or Path(folder)
        if not (home / "agents").exists():
            build(home)
        sides = [stack.enter_context(Server(kind, home)) for kind in args.sides]
        some = people_of(home)[::50]
        shown = [
            [side.ask(user) for user in some] for side in sides if not side.kind.startswith("graph")
        ]
        if any(one != shown[0] for one in shown):
            sys.exit("the sides do not show the same lists")
        rows = []
        for clients in args.clients:
            for side in sides:
                side.load(clients, 0.5)  # threads, caches
            rows += compare(sides, clients, args.pairs, args.seconds)
        rows += [swapped(side, 5.0) for side in sides if side.kind != "bare"]
        if args.keep:
            keep("serving", rows)


if __name__ == "__main__":
    main()
