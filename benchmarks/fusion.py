"""Fusions of the same lists on ML-1M: by ranks, by scores, learned.

    python benchmarks/fusion.py

Leave-one-out, validation part. Figures are means over the users that no fusion learnt from.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sidebyside import keep

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.agents.trial import (
    CandidateArrays,
    TrialRequest,
    TrialResult,
    evaluate_version,
    run_trial,
)
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.splits import make_fold, search_users
from agenticrs.platform.data.store import DatasetStore

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
RETRIEVERS = ("popularity", "itemknn", "ease", "cooccurrence", "trending")
FUSIONS = ("rrf", "score_fusion", "learned_fusion")


def main() -> None:
    """Measure every retriever alone, then every fusion of all."""
    with TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("ml-1m", read_movielens(DATA / "ml-1m"))
    fold = make_fold(dataset, "leave_one_out", "valid")
    data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
    users = data.histories.take(heldout.users)
    lists, rows = [], []
    for name in RETRIEVERS:
        agent = catalogue.build(name, {})
        agent.fit(data, Budget())
        found = agent.act(users, (), 100)
        lists.append(
            CandidateArrays(
                found.items.numpy().astype(np.int32), found.scores.numpy().astype(np.float32), name
            )
        )
        rows.append(_row(name, evaluate_version(fold, artifact.pack(agent))))
    rows += [_row(name, run_trial(fold, TrialRequest(name, {}), lists)) for name in FUSIONS]
    keep("fusion", rows)


def _row(name: str, result: TrialResult) -> dict[str, Any]:
    confirm = ~search_users(result.users)
    row = {
        "agent": name,
        "users": int(confirm.sum()),
        "ndcg@10": round(float(result.per_user["ndcg@10"][confirm].mean()), 4),
        "seconds": round(result.seconds, 2),
    }
    print(f"{name:16} ndcg@10 {row['ndcg@10']:.4f}   {row['seconds']:.1f} s")
    return row


if __name__ == "__main__":
    main()
