"""Top-100 of a large table: exact search beside faiss and the machine's limit; index beside exact.

python benchmarks/retrieval.py [--items 1000000] [--pairs 5] [--only exact|index]

The index needs faiss in this environment: pip install "agenticrs[ann]".
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sidebyside import Peer, pairs, write

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.vector_index import ApproximateSearch, VectorIndex
from agenticrs.agents.vector_search import search

_INDEX_SIZES = (100_000, 200_000, 1_000_000)
_REQUESTS = 100
"""Users asked one at a time in each of ``pairs`` rounds."""


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


def nobody(batch: int) -> UserBatch:
    """Users without histories."""
    nothing = torch.zeros(batch + 1, dtype=torch.int64)
    return UserBatch(torch.arange(batch), nothing, nothing[:0])


def exact_rows(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Exact search beside faiss at several batch sizes."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(arguments.items, arguments.size, generator=generator)
    rows: list[dict[str, Any]] = []
    for batch in (1, 256):
        queries = torch.randn(batch, arguments.size, generator=generator)
        users = nobody(batch)

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
    return rows


def clustered(n_items: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Vectors as training leaves them, (n_items, size): in clusters of very different sizes.

    Items lie around their cluster's centre at .7 of the centres' own spread, and their lengths
    differ by a third (log-normal).
    """
    centres = torch.randn(n_items // 250, size, generator=generator)
    share = torch.arange(1, len(centres) + 1).pow(-0.8)
    cluster = torch.multinomial(share, n_items, replacement=True, generator=generator)
    around = centres[cluster] + 0.7 * torch.randn(n_items, size, generator=generator)
    return around * torch.exp(0.3 * torch.randn(n_items, 1, generator=generator))


def tastes(table: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Users' vectors, (count, size): near the mean of three items, as after a short history."""
    liked = torch.randint(len(table), (count, 3), generator=generator)
    noise = torch.randn(count, table.shape[1], generator=generator)
    return table[liked].mean(1) + 0.3 * noise


def index_rows(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The index beside exact search, one user at a time: seconds, to build it, and recall."""
    rows: list[dict[str, Any]] = []
    for n_items in _INDEX_SIZES:
        for data in ("clustered", "random"):
            generator = torch.Generator().manual_seed(0)
            if data == "clustered":
                table = clustered(n_items, arguments.size, generator)
                queries = tastes(table, 2 * _REQUESTS, generator)
            else:
                table = torch.randn(n_items, arguments.size, generator=generator)
                queries = torch.randn(2 * _REQUESTS, arguments.size, generator=generator)
            row = index_row(table, queries, arguments.k, arguments.pairs)
            task = f"top-{arguments.k} of {n_items:,} {data} items, 1 user, index"
            rows.append({"task": task, "name": "exact search", **row})
    return rows


def index_row(
    table: torch.Tensor, queries: torch.Tensor, k: int, count: int
) -> dict[str, int | float | bool]:
    """Both ways in turn for each query of the second half, ``count`` times: medians and least.

    The first half is what the index is tried on before it is used; an index that would not be used
    is measured as it would be. A user's history are items that the user would be shown otherwise.
    """
    sample, asked = queries.split(_REQUESTS)
    seen = search(asked, table, 2 * k, nobody(len(asked))).items[:, ::4].contiguous()
    users = [
        UserBatch(torch.tensor([0]), torch.tensor([0, len(row)]), row.sort().values) for row in seen
    ]
    nearly = ApproximateSearch(from_items=0)
    for query in sample:
        nearly(query[None], table, k, nobody(1))
    chosen = nearly.settled()
    begin = time.perf_counter()
    index = VectorIndex(table)
    build_seconds = time.perf_counter() - begin
    index = chosen or index

    def asked_by(query: torch.Tensor, user: UserBatch) -> tuple[float, float, float]:
        begin = time.perf_counter()
        found = index.search(query, k, user).items[0]
        between = time.perf_counter()
        wanted = search(query, table, k, user).items[0]
        end = time.perf_counter()
        return between - begin, end - between, float(torch.isin(found, wanted).float().mean())

    asked_by(asked[:1], users[0])
    mine, theirs, hits = zip(
        *(
            asked_by(query[None], user)
            for _ in range(count)
            for query, user in zip(asked, users, strict=True)
        ),
        strict=True,
    )
    own, other = statistics.median(mine), statistics.median(theirs)
    return {
        "ours_seconds": round(own, 6),
        "peer_seconds": round(other, 6),
        "ratio": round(other / own, 2),
        # Others on the machine hold up two threads more than one: the least is without them.
        "ours_least_seconds": round(min(mine), 6),
        "peer_least_seconds": round(min(theirs), 6),
        "pairs": count * _REQUESTS,
        "build_seconds": round(build_seconds, 1),
        f"recall@{k}": round(statistics.mean(hits), 4),
        "lists": index.n_lists,
        "probes": index.probes,
        "used": chosen is not None,
    }


def main() -> None:
    """Compare, and keep the rows; those that were not run stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", choices=("exact", "index"))
    arguments = parser.parse_args()
    if arguments.only != "index":
        write("retrieval", exact_rows(arguments))
    if arguments.only != "exact":
        write("retrieval", index_rows(arguments))


if __name__ == "__main__":
    main()
