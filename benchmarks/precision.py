"""Trainings in float32 and in bfloat16: seconds of an epoch, ratio, and the loss they reach.

    OMP_NUM_THREADS=1 python benchmarks/precision.py [--agents sasrec,dcn] [--pairs 3]

Two hundred users of ML-100K, and the generated platform for multi-task rankers, which learn from
what was shown and not taken; on one thread, both in turn within one process. The second epoch of
each training counts, in CPU seconds on a CPU: setting up is the same for both. What ``auto`` means
(``agents/precision.py``) follows these figures. Rows that are not asked for stay. Data is looked
for in ``AGENTICRS_DATA``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sidebyside import RESULTS, keep

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.precision import Precision, has_bfloat16
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.store import DatasetStore

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
_SHORT = {"positives_per_epoch": 10_000}
_USERS = 200
TASKS: dict[str, dict[str, dict[str, Any]]] = {
    "sasrec": {"width 64": {}, "width 128": {"embedding_size": 128}},
    "hstu": {"width 64": {}},
    "gru4rec": {"width 64": {}},
    "two_tower": {"width 64": {}},
    "dcn": {"width 32": _SHORT, "width 64": {**_SHORT, "embedding_size": 64, "deep": 256}},
    "deepfm": {"width 32": _SHORT},
    "din": {"width 32": _SHORT},
    "towers": {"width 32": _SHORT},
    "mmoe": {"width 16": {}, "width 64": {"embedding_size": 64, "hidden": 256}},
}
"""What is compared: agents as they are, and some of them wider."""


def data_of(agent: str, device: str) -> TrainingData:
    """What the agent learns from."""
    log = generate(GeneratorConfig()).raw if agent == "mmoe" else read_movielens(DATA / "ml-100k")
    with TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("log", log)
    rows = dataset.interactions
    return TrainingData.of(replace(dataset, interactions=rows.take(rows.user < _USERS)), device)


def epoch(
    agent: str, config: dict[str, Any], precision: Precision, data: TrainingData
) -> tuple[float, float]:
    """Seconds of the second of two epochs, and its mean loss."""
    device = data.histories.users.device
    ends: list[float] = []
    losses: list[float] = []

    def ended(done: float, text: str) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        ends.append(time.process_time() if device.type == "cpu" else time.perf_counter())

    made = catalogue.build(
        agent, {**config, "epochs": 2, "precision": precision}, seed=0, device=device.type
    )
    made.fit(data, Budget(report=ended, loss=losses.append))
    return ends[1] - ends[0], losses[1]


def compare(agent: str, config: dict[str, Any], data: TrainingData, pairs: int) -> dict[str, Any]:
    """Both precisions in turn: medians of the seconds, and of the ratios of neighbours."""
    numbers: tuple[Precision, ...] = ("float32", "bfloat16")
    found = [[epoch(agent, config, number, data) for number in numbers] for _ in range(pairs)]
    exact, rough = ([pair[side][0] for pair in found] for side in (0, 1))
    ratios = [one / other for one, other in zip(exact, rough, strict=True)]
    return {
        "agent": agent,
        "device": data.histories.users.device.type,
        "float32_seconds": round(statistics.median(exact), 3),
        "bfloat16_seconds": round(statistics.median(rough), 3),
        "ratio": round(statistics.median(ratios), 2),
        "pairs": pairs,
        "float32_loss": round(found[0][0][1], 4),
        "bfloat16_loss": round(found[0][1][1], 4),
    }


def main() -> None:
    """Compare agent by agent, size by size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", default=",".join(TASKS))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("has bfloat16:", has_bfloat16(torch.device(arguments.device)))
    file = RESULTS / "precision.json"
    old = json.loads(file.read_text())["rows"] if file.exists() else []
    rows = {(row["agent"], row["size"], row["device"]): row for row in old}
    for agent in arguments.agents.split(","):
        data = data_of(agent, arguments.device)
        for size, config in TASKS[agent].items():
            row = {"size": size, **compare(agent, config, data, arguments.pairs)}
            rows[(agent, size, arguments.device)] = row
            print(row, flush=True)
            keep("precision", list(rows.values()))


if __name__ == "__main__":
    main()
