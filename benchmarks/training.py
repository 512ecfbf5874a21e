"""Training on ML-1M beside implicit (C++) and LensKit: same data, dimensions, epochs, threads.

python benchmarks/training.py [--pairs 3]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sidebyside import Peer, pairs, write

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.retrieval.gram import binary_pairs
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
TASKS: dict[str, tuple[str, int, Mapping[str, Any]]] = {
    "bpr": ("implicit", 2, {"embedding_size": 64, "negatives": 1, "epochs": 2}),
    "ials": ("implicit", 2, {"embedding_size": 64, "epochs": 2}),
    "ease": ("lenskit", 1, {"l2": 300.0}),
}
"""Agent -> peer, epochs of one run, our config."""


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


def main() -> None:
    """Compare task by task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--tasks", default=",".join(TASKS))
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("ml-1m", read_movielens(DATA / "ml-1m"))
        data = TrainingData.of(make_fold(dataset, "leave_one_out", "valid").dataset)
        distinct = binary_pairs(data.histories, data.n_items)
        path = Path(folder) / "log.npz"
        np.savez(
            path,
            rows=distinct.rows.numpy(),
            items=distinct.items.numpy(),
            n_users=data.n_users,
            n_items=data.n_items,
        )
        for name in arguments.tasks.split(","):
            package, epochs, config = TASKS[name]
            peer = Peer(
                "training.py",
                (package,),
                (name, str(path), str(epochs)),
                torch.get_num_threads(),
            )
            with peer:
                found = pairs(_fitting(name, config, data), peer, arguments.pairs)
            task = f"{name}: {epochs} epochs, ML-1M" if epochs > 1 else f"{name}: fit, ML-1M"
            row = {"task": task, "name": package, **found}
            if name == "ease":
                least = ease_limit(data.n_items, data.n_users)
                row |= {
                    "limit_seconds": round(least, 4),
                    "share_of_limit": round(least / found["ours_seconds"], 2),
                }
            rows.append(row)
    write("training", rows)


def _fitting(
    name: str, config: Mapping[str, Any], data: TrainingData
) -> Callable[[], dict[str, float]]:
    def ours() -> dict[str, float]:
        catalogue.build(name, config).fit(data, Budget())
        return {}

    return ours


if __name__ == "__main__":
    main()
