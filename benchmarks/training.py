"""Training beside other libraries: same data, dimensions, epochs, threads.

    python benchmarks/training.py [--pairs 3] [--tasks bpr,ials,ease] [--checkouts FOLDER]

Beside implicit and LensKit a fit is compared with a fit; beside the others an epoch with an epoch,
without setting up. Where one would take minutes a few steps of it are timed on either side, and
their mean stands for all (``steps`` in the row). SASRec.pytorch and LightGCN-PyTorch are no
packages: they are looked for in ``--checkouts`` under these names, and cloned into it where they
are missing. What is compared stands in ``training_tasks.py``. Rows of tasks that are not asked for
stay. Data is looked for in ``AGENTICRS_DATA``.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from sidebyside import ENVIRONMENT, Peer, checkout, pairs, write
from torch import Tensor
from training_tasks import CHECKOUTS, TASKS, Task

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.windows import Sequences, Windows
from agenticrs.agents.training_data import Events, FeatureTensors, TrainingData
from agenticrs.agents.training_loop import TrainingLoop
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))


def movielens() -> TrainingData:
    """ML-1M before each user's two newest items."""
    with TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("ml-1m", read_movielens(DATA / "ml-1m"))
        return TrainingData.of(make_fold(dataset, "leave_one_out", "valid").dataset)


def gowalla() -> TrainingData:
    """LightGCN's training set: 810,128 pairs without times."""
    histories: dict[int, list[int]] = {}
    for name in ("train", "valid"):
        with gzip.open(DATA / "gowalla-lightgcn" / f"{name}.txt.gz", "rt") as lines:
            for line in lines:
                user, *items = map(int, line.split())
                histories.setdefault(user, []).extend(items)
    n_users = max(histories) + 1
    lengths = torch.tensor([len(histories.get(user, ())) for user in range(n_users)])
    items = torch.tensor([i for user in range(n_users) for i in histories.get(user, ())])
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    batch = UserBatch(torch.arange(n_users), offsets, items)
    n_items = int(items.max()) + 1
    events = Events(batch.rows, items, torch.ones(len(items)), torch.arange(len(items)))
    return TrainingData(n_users, n_items, batch, events, _nothing(n_users), _nothing(n_items))


def _nothing(n: int) -> FeatureTensors:
    return FeatureTensors(
        torch.zeros(n, 0, dtype=torch.int64), (), torch.zeros(n, 0), torch.zeros(n, 0)
    )


@contextmanager
def first_steps(steps: int | None) -> Iterator[list[int]]:
    """Epochs end after so many steps; the list has, for each, how many it would have had."""
    positives, windows = TrainingLoop.batches, Windows.batches
    planned: list[int] = []

    def some(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        planned.append(-(-n // size))
        return itertools.islice(positives(n, size, generator), steps)

    def some_windows(
        own: Windows, histories: UserBatch, size: int, generator: torch.Generator
    ) -> Iterator[Sequences]:
        planned.append(-(-len(own.rows) // size))
        return itertools.islice(windows(own, histories, size, generator), steps)

    with (
        patch.object(TrainingLoop, "batches", staticmethod(some)),
        patch.object(Windows, "batches", some_windows),
    ):
        yield planned


def our_epoch(task: Task, data: TrainingData) -> dict[str, float]:
    """Seconds of the second epoch of two: the first one also sets up."""
    ends: list[tuple[float, float]] = []

    def end(done: float, text: str) -> None:
        ends.append((time.perf_counter(), time.process_time()))

    with first_steps(task.our_steps) as planned:
        agent = catalogue.build(task.agent, {**task.config, "epochs": 2})
        agent.fit(data, Budget(report=end))
    seconds, cpu = (second - first for first, second in zip(*ends, strict=True))
    if task.our_steps is None:
        return {"seconds": seconds, "cpu_seconds": cpu}
    whole = planned[-1] / task.our_steps
    told = {"steps": task.our_steps, "steps_of_an_epoch": planned[-1]}
    return {"seconds": seconds * whole, "cpu_seconds": cpu * whole, **told}


def our_fit(task: Task, data: TrainingData) -> dict[str, float]:
    """The whole fit counts."""
    more = {"epochs": task.epochs} if task.epochs > 1 else {}
    cpu = time.process_time()
    catalogue.build(task.agent, {**task.config, **more}).fit(data, Budget())
    return {"cpu_seconds": time.process_time() - cpu}


def ease_limit(n_items: int, n_users: int) -> float:
    """Seconds of the Gram matrix's product, the Cholesky factor and the inverse alone."""
    seen = torch.zeros(n_users, n_items)
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        gram = seen.T @ seen
        gram.diagonal().add_(1.0)
        torch.cholesky_inverse(torch.linalg.cholesky_ex(gram).L)
        best = min(best, time.perf_counter() - begin)
    return best


def compare(
    name: str, task: Task, data: TrainingData, path: Path, count: int, checkouts: Path
) -> dict[str, Any]:
    """The row of one task; ``path`` is the data as the peers' scripts read it."""
    ours, what = our_epoch, task.model
    if task.peer in CHECKOUTS:
        source = CHECKOUTS[task.peer]
        what = str(checkout(source.url, checkouts / task.peer) / source.folder)
    arguments = (what, str(path), json.dumps(task.settings), str(task.steps or 0))
    if not task.settings:
        ours, arguments = our_fit, (name, str(path), str(task.epochs))
    packages = task.packages(torch.__version__.split("+")[0])
    with Peer(task.script, packages, arguments, torch.get_num_threads()) as peer:
        found = pairs(lambda: ours(task, data), peer, count)
    row = {"task": task.title, "name": task.peer, **found}
    if task.note:
        row["note"] = task.note
    if name == "ease":
        least = ease_limit(data.n_items, data.n_users)
        row |= {
            "limit_seconds": round(least, 4),
            "share_of_limit": round(least / found["ours_seconds"], 2),
        }
    return row


def main() -> None:
    """Compare task by task, and keep each row at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--checkouts", type=Path, default=ENVIRONMENT / "checkouts")
    arguments = parser.parse_args()
    read = {"ml-1m": movielens, "gowalla": gowalla}
    logs: dict[str, TrainingData] = {}
    with TemporaryDirectory() as folder:
        for name in arguments.tasks.split(","):
            task = TASKS[name]
            path = Path(folder) / f"{task.data}.npz"
            if task.data not in logs:
                data = logs[task.data] = read[task.data]()
                rows, items = data.histories.rows.numpy(), data.histories.items.numpy()
                np.savez(path, rows=rows, items=items, n_users=data.n_users, n_items=data.n_items)
            row = compare(name, task, logs[task.data], path, arguments.pairs, arguments.checkouts)
            write("training", [row])


if __name__ == "__main__":
    main()
