"""Trains on 20 million interactions of 200,000 items, and says how much memory that takes.

    python benchmarks/memory.py [--agents bpr] [--interactions 20000000] [--items 200000]

Generated data: items by a power law, users with as many as they come to. Each agent runs in a
process of its own; the figure is that process's peak, everything included (torch itself, the log,
the weights, the optimiser).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from sidebyside import RESULTS, keep

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.training_data import Events, FeatureTensors, TrainingData

CONFIGS: dict[str, dict[str, Any]] = {
    "popularity": {},
    "bpr": {"embedding_size": 64, "negatives": 1, "epochs": 1, "batch_size": 65_536},
    "ials": {"embedding_size": 64, "epochs": 1},
    "sasrec": {
        "embedding_size": 64,
        "loss": "sampled",
        "negatives": 512,
        "epochs": 1,
        "batch_size": 256,
    },
}
LIMIT_GB = 8


def generated(interactions: int, n_users: int, n_items: int) -> TrainingData:
    """Histories without repeats in a row; nothing else of a log."""
    generator = torch.Generator().manual_seed(0)
    user = torch.randint(n_users, (interactions,), generator=generator).sort().values
    rank = torch.rand(interactions, generator=generator).pow_(3).mul_(n_items).long()
    offsets = torch.zeros(n_users + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(user, minlength=n_users), 0, out=offsets[1:])
    del user
    nothing = torch.zeros(0)
    none = torch.zeros(0, dtype=torch.int64)

    def bare(n: int) -> FeatureTensors:
        empty = torch.zeros(n, 0)
        return FeatureTensors(empty.long(), (), empty, empty)

    return TrainingData(
        n_users=n_users,
        n_items=n_items,
        histories=UserBatch(torch.arange(n_users), offsets, rank),
        events=Events(none, none, nothing, none),
        user_features=bare(n_users),
        item_features=bare(n_items),
    )


def train(agent: str, interactions: int, n_users: int, n_items: int) -> None:
    """One training in this process; prints its row."""
    data = generated(interactions, n_users, n_items)
    before = peak()
    told: list[str] = []
    begin = time.perf_counter()
    made = catalogue.build(agent, CONFIGS[agent])
    made.fit(data, Budget(report=lambda fraction, text: told.append(text)))
    seconds = time.perf_counter() - begin
    lists = made.act(data.histories.take(torch.arange(1000)), (), 100)
    if not bool((lists.items[:, 0] >= 0).all()):  # type: ignore[union-attr]
        sys.exit(f"{agent} has no answer")
    print(f"{before:.2f} {peak():.2f} {seconds:.1f} {told[-1] if told else ''}")


def peak() -> float:
    """Peak memory of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Run every agent in a process of its own and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", default=",".join(CONFIGS), help="rows of others stay")
    parser.add_argument("--agent", choices=sorted(CONFIGS), help="train it in this process")
    parser.add_argument("--interactions", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=400_000)
    parser.add_argument("--items", type=int, default=200_000)
    chosen = parser.parse_args()
    if chosen.agent:
        train(chosen.agent, chosen.interactions, chosen.users, chosen.items)
        return
    file = RESULTS / "memory.json"
    rows = (
        {row["agent"]: row for row in json.loads(file.read_text())["rows"]} if file.exists() else {}
    )
    for agent in chosen.agents.split(","):
        config = CONFIGS[agent]
        sizes = [f"--{name}={getattr(chosen, name)}" for name in ("interactions", "users", "items")]
        done = subprocess.run(
            [sys.executable, __file__, f"--agent={agent}", *sizes],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{agent}: {done.stderr[-800:]}")
        data, most, seconds, told = done.stdout.strip().split(" ", 3)
        rows[agent] = {
            "agent": agent,
            **{k: getattr(chosen, k) for k in ("interactions", "users", "items")},
            "config": config,
            "data_gb": float(data),
            "peak_gb": float(most),
            "seconds": float(seconds),
            "told": told,
            "within_limit": float(most) < LIMIT_GB,
        }
        print(f"{agent:12} peak {most} GB (data alone {data})  {seconds} s  {told}", flush=True)
    keep("memory", list(rows.values()))


if __name__ == "__main__":
    main()
