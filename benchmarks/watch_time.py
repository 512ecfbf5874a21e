"""Seconds watched on KuaiRand: what multi-task rankers expect beside what came.

    OMP_NUM_THREADS=1 python benchmarks/watch_time.py [--epochs 2] [--seeds 1] [--agents mmoe]

The rankers learn from the first nine tenths of the time and are asked about the events of the last
tenth, once with watch time as a place and once as a yes or no, which has an order and no seconds.
Mean absolute and root mean squared error in seconds, beside always saying the mean or the median of
the training events; XAUC, the share of pairs of events in the order of their seconds (Zhan et al.
2022, Deconfounding duration bias in watch-time prediction); and the AUC of each other behaviour,
which must not pay for it. Data is looked for in ``AGENTICRS_DATA``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from multitask import DATA, TEST_SHARE, auc
from sidebyside import keep
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.ranking.multi_task import Mmoe, MultiTaskConfig, Ple
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.importers.kuairand import read_kuairand
from agenticrs.platform.data.store import DatasetStore

AGENTS: dict[str, type[Mmoe]] = {"mmoe": Mmoe, "ple": Ple}
PAIRS = 1_000_000


def errors(said: Tensor, seconds: Tensor) -> dict[str, float]:
    """Mean absolute and root mean squared error, both (n,) in seconds."""
    gap = (said - seconds).to(torch.float64)
    return {"mae": float(gap.abs().mean()), "rmse": float(gap.square().mean().sqrt())}


def xauc(said: Tensor, seconds: Tensor) -> float:
    """Share of drawn pairs of events that are in the right order; pairs that are equal are none."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randint(len(said), (2, PAIRS), generator=generator)
    longer = (seconds[one] - seconds[other]).sign()
    right = (said[one] - said[other]).sign() * longer
    return float((0.5 + 0.5 * right[longer != 0]).mean())


def split(dataset: Dataset) -> tuple[TrainingData, TrainingData, Tensor]:
    """The earlier events, all of them, and which of these are the later ones."""
    rows = dataset.interactions
    cut = np.quantile(rows.timestamp, 1 - TEST_SHARE)
    early = replace(dataset, interactions=rows.take(rows.timestamp <= cut))
    later = torch.from_numpy(np.flatnonzero(rows.timestamp > cut))
    return TrainingData.of(early), TrainingData.of(dataset), later


def constants(train: TrainingData, whole: TrainingData, test: Tensor) -> list[dict[str, Any]]:
    """Those who always say the same."""
    known = train.events.behaviours["watch_time"]
    seconds = whole.events.behaviours["watch_time"][test]
    return [
        {"way": f"the {name}", **errors(value.expand_as(seconds), seconds), "xauc": 0.5}
        for name, value in (("mean", known.mean()), ("median", known.median()))
    ]


def judged(agent: Mmoe, whole: TrainingData, test: Tensor) -> dict[str, Any]:
    """What a fitted ranker says of the events ``test`` (n,)."""
    logits = agent.event_logits(whole, test)
    seconds = whole.events.behaviours["watch_time"][test]
    place = agent.tasks.index("watch_time")
    found: dict[str, Any] = {"xauc": xauc(logits[:, place], seconds)}
    if agent.seconds is not None:
        said = agent.watched(logits)
        found |= {**errors(said, seconds), "said": float(said.mean())}
    once = torch.ones(1, len(test))
    for task, column in zip(agent.tasks, logits.T, strict=True):
        if task != "watch_time":
            truth = (whole.events.behaviours[task][test] > 0).to(torch.float32)
            found[f"auc_{task}"] = float(auc(column, truth, once))
    return {"came": float(seconds.mean()), **found}


def main() -> None:
    """Each ranker in both ways, and those who always say the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--agents", default="mmoe")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("kuairand", read_kuairand(DATA / "kuairand-pure"))
    data = split(dataset)
    rows = constants(*data)
    print(*rows, sep="\n", flush=True)
    for name in arguments.agents.split(","):
        for watch in ("quantile", "longer"):
            for seed in range(arguments.seeds):
                begin = time.process_time()
                config = MultiTaskConfig.model_validate(
                    {"epochs": arguments.epochs, "watch": watch}
                )
                agent = AGENTS[name](config, seed=seed)
                agent.fit(data[0], Budget())
                row = {"way": name, "watch": watch, "seed": seed, **judged(agent, *data[1:])}
                rows.append({**row, "cpu_seconds": time.process_time() - begin})
                print(rows[-1], flush=True)
                keep("watch_time", rows)


if __name__ == "__main__":
    main()
