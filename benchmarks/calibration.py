"""Probabilities of KuaiRand's behaviours beside how often each came true, before and after Platt.

    python benchmarks/calibration.py [--epochs 2] [--seed 0]

The multi-task rankers learn from the first nine tenths of the time and are asked about the events
of the last tenth. The error is the mean gap, over ten groups of equally many events in order of
the probability, between the mean probability of a group and the share of it that came true.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from multitask import DATA, TEST_SHARE
from sidebyside import keep
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.agent import Budget
from agenticrs.agents.ranking.multi_task import Mmoe, MultiTaskConfig, Ple
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.importers.kuairand import read_kuairand
from agenticrs.platform.data.store import DatasetStore

GROUPS = 10


def calibration_error(probability: Tensor, truth: Tensor) -> float:
    """The mean gap of ``GROUPS`` groups of events, both (n,)."""
    groups = probability.argsort().tensor_split(GROUPS)
    gaps = [(probability[g].mean() - truth[g].mean()).abs() * len(g) for g in groups]
    return float(torch.stack(gaps).sum()) / len(truth)


def compared(agent: Mmoe, train: TrainingData, whole: TrainingData, test: Tensor) -> list[Any]:
    """A row for each behaviour: what was said and what came, raw and calibrated."""
    logits = agent.event_logits(whole, test)
    calibrated = agent.probabilities(logits)
    rows = []
    for place, task in enumerate(agent.tasks):
        column = whole.events.behaviours[task]
        known = train.events.behaviours[task]
        # The threshold of watch time is that of the training events.
        least = float(known[known > 0].median()) if task == "watch_time" else 0.0
        truth = (column[test] > least).to(torch.float32)
        row: dict[str, Any] = {"agent": agent.spec.name, "task": task}
        row["came_true"] = round(float(truth.mean()), 5)
        for name, said in (("raw", logits[:, place].sigmoid()), ("platt", calibrated[:, place])):
            row[f"{name}_said"] = round(float(said.mean()), 5)
            row[f"{name}_error"] = round(calibration_error(said, truth), 5)
            row[f"{name}_log_loss"] = round(float(functional.binary_cross_entropy(said, truth)), 5)
        rows.append(row)
    return rows


def run(dataset: Dataset, config: MultiTaskConfig, seed: int) -> list[Any]:
    """Both rankers on one dataset."""
    rows = dataset.interactions
    cut = np.quantile(rows.timestamp, 1 - TEST_SHARE)
    early = replace(dataset, interactions=rows.take(rows.timestamp <= cut))
    train, whole = TrainingData.of(early), TrainingData.of(dataset)
    test = torch.from_numpy(np.flatnonzero(rows.timestamp > cut))
    found = []
    for kind in (Mmoe, Ple):
        agent = kind(config, seed=seed)
        agent.fit(train, Budget())
        found += compared(agent, train, whole, test)
    return found


def main() -> None:
    """Train, ask, and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("kuairand", read_kuairand(DATA / "kuairand-pure"))
    found = run(dataset, MultiTaskConfig(epochs=arguments.epochs), arguments.seed)
    for row in found:
        print(row)
    keep("calibration", found)


if __name__ == "__main__":
    main()
