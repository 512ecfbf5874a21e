"""Behaviours of KuaiRand: one multi-task network beside single-task LR and DeepFM.

python benchmarks/multitask.py [--epochs 3] [--seeds 3]

Events of the last tenth of the time are the test (no event of it is learnt from); AUC of each
behaviour over all test events, and the difference to the best single-task model with a paired
bootstrap that draws users, not events.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sidebyside import RESULTS
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.ranking.multi_task import Mmoe, MultiTaskConfig, Ple, task_labels
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.importers.kuairand import read_kuairand
from agenticrs.platform.data.store import DatasetStore

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
TEST_SHARE = 0.1
DRAWS = 500


class SingleTask(Mmoe):
    """One behaviour alone, by a classic network."""

    kind: documents.Ranker = "lr"
    task = ""

    def labels(self, data: TrainingData) -> dict[str, Tensor]:
        """The labels of this task only."""
        return {self.task: task_labels(data)[self.task]}

    def structure(self) -> Architecture:
        """The classic document, with this one task."""
        config = self.config
        return documents.ranker(
            self.kind, width=config.embedding_size, hidden=config.hidden, tasks=self.tasks
        )


class SingleDeepFm(SingleTask):
    """DeepFM for one behaviour."""

    kind = "deepfm"


def auc(scores: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted AUC for each draw: ``scores``, ``truth`` (n,), ``weights`` (draws, n)."""
    order = scores.argsort()
    positive = weights[:, order] * truth[order]
    negative = weights[:, order] * (1 - truth[order])
    won = (positive * (negative.cumsum(1) - 0.5 * negative)).sum(1)
    return won / (positive.sum(1) * negative.sum(1)).clamp(min=1e-12)


def run(dataset: Dataset, config: MultiTaskConfig, seed: int) -> dict[str, Tensor]:
    """Scores (test events, tasks) of each model, and the truth, the users and the tasks."""
    rows = dataset.interactions
    cut = np.quantile(rows.timestamp, 1 - TEST_SHARE)
    early = replace(dataset, interactions=rows.take(rows.timestamp <= cut))
    train, whole = TrainingData.of(early), TrainingData.of(dataset)
    test = torch.from_numpy(np.flatnonzero(rows.timestamp > cut))
    labels = task_labels(train)
    found: dict[str, Tensor] = {"user": whole.events.user[test]}
    for name, kind in (("mmoe", Mmoe), ("ple", Ple)):
        agent = kind(config, seed=seed)
        agent.fit(train, Budget())
        found[name] = agent.event_logits(whole, test)
        tasks = agent.tasks
    for name, single in (("lr", SingleTask), ("deepfm", SingleDeepFm)):
        columns = []
        for task in tasks:
            alone = single(config, seed=seed)
            alone.task = task
            alone.fit(train, Budget())
            columns.append(alone.event_logits(whole, test)[:, 0])
        found[name] = torch.stack(columns, 1)
    # The threshold of watch time is that of the training events.
    truth = []
    for task in labels:
        column = whole.events.behaviours[task]
        if task == "watch_time":
            known = train.events.behaviours[task]
            truth.append(column[test] > known[known > 0].median())
        else:
            truth.append(column[test] > 0)
    found["truth"] = torch.stack(truth, 1).to(torch.float32)
    return found


def main() -> None:
    """Compare task by task."""
    import json

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("kuairand", read_kuairand(DATA / "kuairand-pure"))
    config = MultiTaskConfig(epochs=arguments.epochs)
    labels = list(task_labels(TrainingData.of(dataset)))
    runs = [run(dataset, config, seed) for seed in range(arguments.seeds)]
    user = runs[0]["user"]
    _, code = user.unique(return_inverse=True)
    generator = torch.Generator().manual_seed(0)
    rows: list[dict[str, Any]] = []
    for place, task in enumerate(labels):
        truth = runs[0]["truth"][:, place]
        models = {
            name: torch.stack([r[name][:, place] for r in runs]).mean(0)
            for name in ("mmoe", "ple", "lr", "deepfm")
        }
        once = torch.ones(1, len(truth))
        seeds = {
            name: [round(float(auc(r[name][:, place], truth, once)), 4) for r in runs]
            for name in models
        }
        best = max(("lr", "deepfm"), key=lambda name: sum(seeds[name]))
        row: dict[str, Any] = {
            "task": task,
            "positives": int(truth.sum()),
            "auc_by_seed": seeds,
            "best_single": best,
        }
        for name in ("mmoe", "ple"):
            differences = []
            for _ in range(DRAWS // 50):
                drawn = torch.randint(
                    int(code.max()) + 1, (50, int(code.max()) + 1), generator=generator
                )
                counts = torch.zeros_like(drawn).scatter_add_(1, drawn, torch.ones_like(drawn))
                weights = counts[:, code].to(torch.float32)
                differences.append(
                    auc(models[name], truth, weights) - auc(models[best], truth, weights)
                )
            spread = torch.cat(differences)
            low, high = spread.quantile(torch.tensor([0.025, 0.975])).tolist()
            row[f"{name}_minus_best_single"] = [
                round(float(spread.mean()), 4),
                round(low, 4),
                round(high, 4),
            ]
        rows.append(row)
        print(task, row)
    content = {"data": "KuaiRand-Pure", "config": config.model_dump(), "rows": rows}
    (RESULTS / "multitask.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
