"""Several seeds of a ranker one after the other and side by side: seconds, ratio, quality.

    OMP_NUM_THREADS=1 python benchmarks/vectorised.py [--seeds 2,4,8] [--positives 5000]

The generated platform and ML-100K, leave-one-out, validation part, on one thread, in turn within
one process. Both ways rank the same lists: the most popular items and those of co-occurrence.
``auto`` is what the measurement at the start of a group decides. Seconds are CPU seconds of the
process, which others on the machine disturb less. Data is looked for in ``AGENTICRS_DATA``.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sidebyside import keep

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.agents.trial import CandidateArrays, TrialRequest, TrialResult
from agenticrs.agents.trials import Way, run_trials
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
SIZES: dict[str, dict[str, Any]] = {
    "default": {},
    "small": {"embedding_size": 8, "batch_size": 32},
}
"""As the agents are by default (vectors of 32, 256 lists a step), and where calls dominate."""


def fold_of(name: str) -> Fold:
    """A fold of the generated platform or of ML-100K."""
    with TemporaryDirectory() as folder:
        log = (
            generate(GeneratorConfig()).raw
            if name == "generated"
            else read_movielens(DATA / "ml-100k")
        )
        dataset = DatasetStore(Path(folder)).save(name, log)
        return make_fold(dataset, "leave_one_out", "valid")


def lists_of(fold: Fold) -> CandidateArrays:
    """The 100 items that co-occurrence offers each held-out user."""
    data = TrainingData.of(fold.dataset)
    agent = catalogue.build("cooccurrence", {})
    agent.fit(data, Budget())
    found: Any = agent.act(data.histories.take(Heldout.of(fold).users), (), 100)
    return CandidateArrays(
        found.items.numpy().astype(np.int32),
        found.scores.numpy().astype(np.float32),
        "cooccurrence",
    )


def run(
    fold: Fold, lists: CandidateArrays, requests: list[TrialRequest], way: Way
) -> tuple[float, list[float], str]:
    """CPU seconds, NDCG@10 of each seed, and the way that was taken."""
    told: list[str] = []
    begin = time.process_time()
    found = run_trials(fold, requests, [lists], lambda done, text: told.append(text), way)
    seconds = time.process_time() - begin
    quality = [r.totals["ndcg@10"] for r in found if isinstance(r, TrialResult)]
    return seconds, quality, told[0].split(", ")[1]


def main() -> None:
    """Compare agent by agent, size by size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="2,4,8")
    parser.add_argument("--positives", type=int, default=5000, help="learnt from in one epoch")
    parser.add_argument("--data", default="generated,ml-100k")
    parser.add_argument("--sizes", default="small,default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folds = {name: fold_of(name) for name in arguments.data.split(",")}
    lists = {name: lists_of(fold) for name, fold in folds.items()}
    rows: list[dict[str, Any]] = []
    for size in arguments.sizes.split(","):
        for name, fold in folds.items():
            for agent in ("dcn", "deepfm"):
                short = {"epochs": 1, "positives_per_epoch": arguments.positives}
                config = {**SIZES[size], **short}
                if not rows:  # warm up
                    compare(fold, lists[name], [TrialRequest(agent, config)] * 2)
                for count in map(int, arguments.seeds.split(",")):
                    requests = [TrialRequest(agent, config, seed=seed) for seed in range(count)]
                    row = {"data": name, "agent": agent, "size": size, "seeds": count}
                    rows.append(row | compare(fold, lists[name], requests))
                    print(rows[-1], flush=True)
                    keep("vectorised", rows)


def compare(fold: Fold, lists: CandidateArrays, requests: list[TrialRequest]) -> dict[str, Any]:
    """Both ways, and what the measurement at the start decides."""
    alone, ours, _ = run(fold, lists, requests, "in turn")
    together, theirs, _ = run(fold, lists, requests, "together")
    auto, _, taken = run(fold, lists, requests, "auto")
    return {
        "in_turn_seconds": round(alone, 2),
        "together_seconds": round(together, 2),
        "ratio": round(alone / together, 2),
        "auto_seconds": round(auto, 2),
        "auto_took": taken,
        "ndcg@10": [round(float(np.mean(q)), 4) for q in (ours, theirs)],
        "largest_difference": round(float(np.abs(np.subtract(ours, theirs)).max()), 5),
    }


if __name__ == "__main__":
    main()
