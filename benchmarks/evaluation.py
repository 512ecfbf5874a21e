"""Ten ranking metrics for all users of ML-1M: ours beside ranx and LensKit.

python benchmarks/evaluation.py [--pairs 5]

All sides get the same ready lists (the top 100 of EASE, the seen masked) and the same held-out
items; what the peers need around them (dictionaries, collections) is built before their clock runs.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sidebyside import Peer, pairs, write

from agenticrs.agents.agent import Budget
from agenticrs.agents.evaluation import act_for
from agenticrs.agents.retrieval.ease import Ease, EaseConfig
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.rewards.ranking import ranking_metrics

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
PEERS = {"ranx": ("ranx",), "lenskit": ("lenskit",)}


def main() -> None:
    """Compare with every peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("ml-1m", read_movielens(DATA / "ml-1m"))
        fold = make_fold(dataset, "leave_one_out", "valid")
        data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
        agent = Ease(EaseConfig())
        agent.fit(data, Budget())
        ranked = act_for(agent, data, heldout.users, (), 100)
        path = Path(folder) / "lists.npz"
        np.savez(
            path,
            ranked=ranked.numpy(),
            offsets=heldout.offsets.numpy(),
            items=heldout.items.numpy(),
        )

        def ours() -> dict[str, float]:
            found = ranking_metrics(ranked, heldout.offsets, heldout.items, (10, 50))
            return {name: float(found[name].mean()) for name in ("ndcg@10", "recall@50")}

        for name, packages in PEERS.items():
            peer = Peer("evaluation.py", packages, (name, str(path)), torch.get_num_threads())
            with peer:
                found = pairs(ours, peer, arguments.pairs)
            rows.append({"task": "10 metrics, 6,040 users x top 100", "name": name, **found})
    write("evaluation", rows)


if __name__ == "__main__":
    main()
