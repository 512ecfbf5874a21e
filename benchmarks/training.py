"""Training beside implicit (C++), LensKit and RecBole: same data, dimensions, epochs, threads.

    python benchmarks/training.py [--pairs 3] [--tasks bpr,ials,ease]

Beside RecBole an epoch is compared with an epoch, without setting up. Where one would take minutes
a few steps of it are timed on either side, and their mean stands for all (``steps`` in the row).
Rows of tasks that are not asked for stay. Data is looked for in ``AGENTICRS_DATA``.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch
from sidebyside import Peer, pairs, write
from torch import Tensor

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.training_data import Events, FeatureTensors, TrainingData
from agenticrs.agents.training_loop import TrainingLoop
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))


@dataclass(frozen=True)
class Task:
    """An agent's training beside a peer's. ``title`` names the row."""

    title: str
    agent: str
    config: Mapping[str, Any]
    peer: str
    data: Literal["ml-1m", "gowalla"] = "ml-1m"
    epochs: int = 1
    """Of one fit, which counts as a whole (implicit, LensKit)."""
    model: str = ""
    """RecBole's class; then an epoch counts."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """RecBole's."""
    steps: int | None = None
    """Most steps of RecBole's epoch that are really done."""
    our_steps: int | None = None
    """Most of ours."""
    note: str = ""


FACTORS = {"embedding_size": 64, "batch_size": 2048}
GRAPH = {**FACTORS, "layers": 3, "loss": "bpr", "negatives": 256}
BATCHES = {"embedding_size": 64, "train_batch_size": 2048}
SHARED_NEGATIVES = "ours: 256 negatives, shared by the batch; RecBole: one for each positive"
TASKS = {
    "bpr": Task("bpr: 2 epochs, ML-1M", "bpr", {**FACTORS, "negatives": 1}, "implicit", epochs=2),
    "ials": Task("ials: 2 epochs, ML-1M", "ials", {"embedding_size": 64}, "implicit", epochs=2),
    "ease": Task("ease: fit, ML-1M", "ease", {"l2": 300.0}, "lenskit"),
    "bpr-recbole": Task(
        "bpr: an epoch, ML-1M",
        "bpr",
        {**FACTORS, "negatives": 1},
        "recbole",
        model="BPR",
        settings=BATCHES,
    ),
    "sasrec-recbole": Task(
        "sasrec: an epoch, ML-1M",
        "sasrec",
        {
            "embedding_size": 64,
            "layers": 2,
            "heads": 1,
            "max_length": 50,
            "dropout": 0.3,
            "loss": "softmax",
            "batch_size": 40,
        },
        "recbole",
        model="SASRec",
        settings={
            "hidden_size": 64,
            "n_layers": 2,
            "n_heads": 1,
            "inner_size": 128,
            "hidden_dropout_prob": 0.3,
            "attn_dropout_prob": 0.3,
            "loss_type": "CE",
            "MAX_ITEM_LIST_LENGTH": 50,
            "train_batch_size": 2000,
        },
        steps=3,
        note="an epoch predicts every item after a user's first once, 2,000 of them a step: ours "
        "all places of 40 windows of 50 items, RecBole the last one of 2,000 windows",
    ),
    "lightgcn-recbole": Task(
        "lightgcn: an epoch, ML-1M",
        "lightgcn",
        GRAPH,
        "recbole",
        model="LightGCN",
        settings={**BATCHES, "n_layers": 3},
        steps=10,
        our_steps=10,
        note=SHARED_NEGATIVES,
    ),
    "lightgcn-gowalla": Task(
        "lightgcn: an epoch, Gowalla",
        "lightgcn",
        GRAPH,
        "recbole",
        data="gowalla",
        model="LightGCN",
        settings={**BATCHES, "n_layers": 3},
        steps=10,
        our_steps=10,
        note=SHARED_NEGATIVES,
    ),
}


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
    whole = TrainingLoop.batches
    planned: list[int] = []

    def some(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        planned.append(-(-n // size))
        return itertools.islice(whole(n, size, generator), steps)

    with patch.object(TrainingLoop, "batches", staticmethod(some)):
        yield planned


def our_epoch(task: Task, data: TrainingData) -> dict[str, float]:
    """Seconds of the second epoch of two: the first one also sets up."""
    ends: list[float] = []
    with first_steps(task.our_steps) as planned:
        agent = catalogue.build(task.agent, {**task.config, "epochs": 2})
        agent.fit(data, Budget(report=lambda done, text: ends.append(time.perf_counter())))
    told = {"seconds": ends[1] - ends[0]}
    if task.our_steps is None:
        return told
    told["seconds"] *= planned[-1] / task.our_steps
    return told | {"steps": task.our_steps, "steps_of_an_epoch": planned[-1]}


def our_fit(task: Task, data: TrainingData) -> dict[str, float]:
    """The whole fit counts."""
    more = {"epochs": task.epochs} if task.epochs > 1 else {}
    catalogue.build(task.agent, {**task.config, **more}).fit(data, Budget())
    return {}


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


def compare(name: str, task: Task, data: TrainingData, path: Path, count: int) -> dict[str, Any]:
    """The row of one task; ``path`` is the data as the peers' scripts read it."""
    script, arguments = "training.py", (name, str(path), str(task.epochs))
    if task.model:
        script = "recbole_training.py"
        arguments = (task.model, str(path), json.dumps(task.settings), str(task.steps or 0))
    ours = our_epoch if task.model else our_fit
    with Peer(script, (task.peer,), arguments, torch.get_num_threads()) as peer:
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
            row = compare(name, task, logs[task.data], path, arguments.pairs)
            write("training", [row])


if __name__ == "__main__":
    main()
