"""Exact top-100 of a large table beside faiss, and beside what the machine can do at most.

python benchmarks/retrieval.py [--items 1000000] [--pairs 5]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sidebyside import Peer, pairs, write

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.vector_search import search


def limit(queries: torch.Tensor, table: torch.Tensor) -> float:
    """Seconds of the product of matrices alone: no exact search is faster with this arithmetic."""
    out = torch.empty(len(queries), min(len(table), 100_000))
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        for start in range(0, len(table), out.shape[1]):
            part = table[start : start + out.shape[1]]
            torch.mm(queries, part.T, out=out[:, : len(part)])
        best = min(best, time.perf_counter() - begin)
    return best


def main() -> None:
    """Compare at several batch sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(arguments.items, arguments.size, generator=generator)
    rows: list[dict[str, Any]] = []
    for batch in (1, 256):
        queries = torch.randn(batch, arguments.size, generator=generator)
        users = UserBatch(torch.arange(batch), torch.zeros(batch + 1).long(), torch.zeros(0).long())

        def ours(queries: torch.Tensor = queries, users: UserBatch = users) -> dict[str, float]:
            return {"sum": float(search(queries, table, arguments.k, users).scores.sum())}

        with TemporaryDirectory() as folder:
            path = Path(folder) / "arrays.npz"
            np.savez(path, table=table.numpy(), queries=queries.numpy())
            peer = Peer(
                "retrieval.py",
                ("faiss-cpu",),
                (str(path), str(arguments.k)),
                torch.get_num_threads(),
            )
            with peer:
                found = pairs(ours, peer, arguments.pairs)
        least = limit(queries, table)
        rows.append(
            {
                "task": f"top-{arguments.k} of {arguments.items:,} items, {batch} users",
                "name": "faiss flat",
                **found,
                "limit_seconds": round(least, 5),
                "share_of_limit": round(least / found["ours_seconds"], 2),
            }
        )
    write("retrieval", rows)


if __name__ == "__main__":
    main()
