"""Ten ranking metrics for all users of ML-1M: ours beside ranx, LensKit and RecBole.

    python benchmarks/evaluation.py [--pairs 5] [--peers ranx,lenskit,recbole]

ranx and LensKit get the same ready lists as ours (the top 100 of EASE, the seen masked) and the
same held-out items; what they need around them (dictionaries, collections) is built before their
clock runs. RecBole evaluates from vectors to metrics (scores of all items, the seen masked, the top
50), and so does ours beside it, by the same vectors of a matrix factorisation.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sidebyside import Peer, pairs, write
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.evaluation import act_for
from agenticrs.agents.retrieval.bpr import BprConfig, BprMF
from agenticrs.agents.retrieval.ease import Ease, EaseConfig
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.rewards.ranking import ranking_metrics

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
PEERS = ("ranx", "lenskit", "recbole")
CUTS = (10, 50)
USERS_AT_ONCE = (1024, 1)
"""Of RecBole: as many as our evaluation takes, and its default for so many items."""


def ready_lists(
    names: Sequence[str], data: TrainingData, heldout: Heldout, folder: Path, count: int
) -> list[dict[str, Any]]:
    """Metrics alone, beside each of the peers."""
    agent = Ease(EaseConfig())
    agent.fit(data, Budget())
    ranked = act_for(agent, data, heldout.users, (), 100)
    path = folder / "lists.npz"
    np.savez(
        path,
        ranked=ranked.numpy(),
        offsets=heldout.offsets.numpy(),
        items=heldout.items.numpy(),
    )

    def ours() -> dict[str, float]:
        return shown(ranking_metrics(ranked, heldout.offsets, heldout.items, CUTS))

    rows = []
    for name in names:
        with Peer("evaluation.py", (name,), (name, str(path)), torch.get_num_threads()) as peer:
            found = pairs(ours, peer, count)
        rows.append({"task": "10 metrics, 6,040 users x top 100", "name": name, **found})
    return rows


def full_ranking(
    data: TrainingData, heldout: Heldout, folder: Path, count: int, users_at_once: int
) -> dict[str, Any]:
    """From vectors to metrics, beside RecBole, which takes ``users_at_once``."""
    trained = BprMF(BprConfig(epochs=5))
    trained.fit(data, Budget())
    state = trained.state()
    state["bias"].zero_()  # RecBole's model has none
    agent = BprMF(trained.config)
    agent.load(state, n_users=data.n_users, n_items=data.n_items)
    path = folder / "vectors.npz"
    np.savez(
        path,
        rows=data.histories.rows.numpy(),
        items=data.histories.items.numpy(),
        users_held_out=heldout.users.numpy(),
        items_held_out=heldout.items.numpy(),
        users=state["users"].numpy(),
        vectors=state["items"].numpy(),
        users_at_once=users_at_once,
    )

    def ours() -> dict[str, float]:
        begin, cpu = time.perf_counter(), time.process_time()
        ranked = act_for(agent, data, heldout.users, (), max(CUTS))
        found = shown(ranking_metrics(ranked, heldout.offsets, heldout.items, CUTS))
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return {"seconds": seconds, "cpu_seconds": cpu, **found}

    script, package = "recbole_evaluation.py", ("recbole",)
    with Peer(script, package, (str(path),), torch.get_num_threads()) as peer:
        found = pairs(ours, peer, count)
    task = "full ranking and 10 metrics, 6,040 users x 3,416 items"
    return {"task": task, "name": f"recbole, {users_at_once:,} users at a time", **found}


def shown(found: Mapping[str, Tensor]) -> dict[str, float]:
    """Two of the means, to see that both sides have measured the same."""
    return {name: float(found[name].mean()) for name in ("ndcg@10", "recall@50")}


def main() -> None:
    """Compare with every peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS))
    arguments = parser.parse_args()
    names = arguments.peers.split(",")
    with TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("ml-1m", read_movielens(DATA / "ml-1m"))
        fold = make_fold(dataset, "leave_one_out", "valid")
        data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
        place = Path(folder)
        if "recbole" in names:
            for users in USERS_AT_ONCE:
                row = full_ranking(data, heldout, place, arguments.pairs, users)
                write("evaluation", [row])
        if lists := [name for name in names if name != "recbole"]:
            write("evaluation", ready_lists(lists, data, heldout, place, arguments.pairs))


if __name__ == "__main__":
    main()
