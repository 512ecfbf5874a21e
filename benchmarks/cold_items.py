"""New items: a tenth of the items is taken out of the log, and ranked for those who took them.

    python benchmarks/cold_items.py [--data ml-100k] [--agents cold_item,two_tower] [--seeds 3]

Nothing that anybody did with the items taken out is learnt from; what is said of them (genres,
year) is. For each user who took some of them, they alone are ranked: all, none sampled. Beside
``cold_item`` and two towers that read the features stand those who need not learn: a profile (the
mean of what is said of a user's items, by cosine) and chance. Data is looked for in
``AGENTICRS_DATA``; rows that are not asked for stay.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sidebyside import RESULTS, keep
from torch import Tensor
from torch.nn import functional

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget, Retriever
from agenticrs.agents.item_vectors import mean_shares
from agenticrs.agents.retrieval.cold_item import content_columns
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Dataset, Fold
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.store import DatasetStore
from agenticrs.rewards.ranking import ranking_metrics
from agenticrs.rewards.significance import bootstrap_mean

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
SHARE = 0.1
METRICS = ("ndcg@10", "recall@10")


def split(dataset: Dataset, seed: int) -> tuple[TrainingData, Heldout, Tensor]:
    """The log without a tenth of the items, what was done with these, and which they are, (C,)."""
    generator = torch.Generator().manual_seed(seed)
    cold = torch.randperm(dataset.n_items, generator=generator)[: int(SHARE * dataset.n_items)]
    new = torch.zeros(dataset.n_items, dtype=torch.bool)
    new[cold] = True
    rows = dataset.interactions
    held = new.numpy()[rows.item]
    known = replace(dataset, interactions=rows.take(~held))
    positives = rows.take(held & dataset.is_positive(rows))
    fold = Fold(known, positives, f"cold items, seed {seed}", "test")
    return TrainingData.of(known), Heldout.of(fold), cold.sort().values


def learnt(name: str, seed: int) -> Callable[[TrainingData, Tensor], Tensor]:
    """Scores (U, items) of an agent with its default settings for the users (U,)."""

    def scores(data: TrainingData, users: Tensor) -> Tensor:
        agent = catalogue.build(name, {}, seed=seed)
        agent.fit(data, Budget())
        if not isinstance(agent, Retriever):
            raise TypeError(f"{name} is no retriever")
        with torch.inference_mode():
            return agent.score(data.histories.take(users))

    return scores


def profile(data: TrainingData, users: Tensor) -> Tensor:
    """How alike an item is to the mean of a user's items, by what is said of them."""
    content = functional.normalize(content_columns(data.item_features)[:, :-1], dim=1)
    return mean_shares(data.histories.take(users), content) @ content.T


def chance(data: TrainingData, users: Tensor) -> Tensor:
    """Any order is as good as another."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(len(users), data.n_items, generator=generator)


def measured(
    scores: Callable[[TrainingData, Tensor], Tensor],
    data: TrainingData,
    heldout: Heldout,
    cold: Tensor,
) -> dict[str, Any]:
    """Means over users, the interval of the first, and the processor time of fit and scores."""
    begin = time.process_time()
    found = scores(data, heldout.users)[:, cold]
    seconds = time.process_time() - begin
    ranked = cold[found.topk(10, dim=1).indices]
    per_user = ranking_metrics(ranked, heldout.offsets, heldout.items, [10])
    interval = bootstrap_mean(per_user[METRICS[0]], seed=0)
    means = {metric: float(per_user[metric].mean()) for metric in METRICS}
    return {
        **means,
        "interval": [interval.low, interval.high],
        "test_users": len(heldout.users),
        "items": len(cold),
        "cpu_seconds": seconds,
    }


def main() -> None:
    """Each way on each dataset and draw of items."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="ml-100k")
    parser.add_argument("--agents", default="cold_item,two_tower")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    file = RESULTS / "cold_items.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    for name in arguments.data.split(","):
        with TemporaryDirectory() as folder:
            dataset = DatasetStore(Path(folder)).save(name, read_movielens(DATA / name))
        for seed in range(arguments.seeds):
            data, heldout, cold = split(dataset, seed)
            ways = {agent: learnt(agent, seed) for agent in arguments.agents.split(",")}
            for way, scores in {**ways, "profile": profile, "chance": chance}.items():
                found = measured(scores, data, heldout, cold)
                of = {"data": name, "seed": seed, "way": way}
                rows = [row for row in rows if any(row[key] != of[key] for key in of)]
                rows.append({**of, **found})
                print(rows[-1], flush=True)
                keep("cold_items", rows)


if __name__ == "__main__":
    main()
