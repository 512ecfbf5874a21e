"""Who a real composition's outer reward is owed to, exactly, and from 64 measurements.

    OMP_NUM_THREADS=1 python benchmarks/credit.py [--data ml-100k]

Eight agents at their defaults serve ML-100K's (or the generated platform's) held-out users: four
retrievers, one for short histories behind a router, a fusion and a re-ranker. All coalitions are
measured over the runtime, so that leave-one-out and Shapley values are exact; beside them stand
those from as many random orders as a cycle would measure. Intervals are over orders, at 95 %.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sidebyside import keep
from torch import Tensor

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.training_data import TrainingData
from agenticrs.evolution import blueprint
from agenticrs.evolution.blueprint import Blueprint
from agenticrs.evolution.outer_reward.arena import Files
from agenticrs.evolution.outer_reward.coalitions import at_work, run_without
from agenticrs.evolution.outer_reward.credit import MOST, plan_of
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.rewards.credit import Coalition, exact_shapley, leave_one_out, sampled_shapley

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
SPECS = {name: kind.spec for name, kind in catalogue.load_agents().items()}
SERVING = blueprint.graph_of(
    Blueprint(
        retrievers=("cooccurrence", "ease", "itemknn", "popularity"),
        fusion="rrf",
        reranker="mmr",
        router="history_router",
        paths={"cold": "trending"},
    ),
    SPECS,
    dict.fromkeys(SPECS, 1),
)
CONFIGS: dict[str, dict[str, Any]] = {"history_router": {"threshold": 20}}


def fold_of(name: str) -> Fold:
    """Leave-one-out, validation part."""
    with TemporaryDirectory() as folder:
        generated = name == "generated"
        log = generate(GeneratorConfig()).raw if generated else read_movielens(DATA / name)
        return make_fold(DatasetStore(Path(folder)).save(name, log), "leave_one_out", "valid")


def files_of(fold: Fold) -> dict[str, Files]:
    """The files of each member, fitted to the fold's history."""
    data, found = TrainingData.of(fold.dataset), dict[str, Files]()
    for name in SERVING.agents():
        agent = catalogue.build(name, CONFIGS.get(name, {}))
        agent.fit(data, Budget())
        found[name] = artifact.pack(agent)
    return found


def main() -> None:
    """Measure every coalition, then divide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="ml-100k")
    name = parser.parse_args().data
    torch.set_num_threads(1)
    fold = fold_of(name)
    files = files_of(fold)
    members, everybody = sorted(SERVING.agents()), frozenset(SERVING.agents())
    in_order = [files[node.agent] for node in SERVING.nodes]

    @cache
    def measured(working: Coalition) -> Tensor:
        _, reward = run_without(fold, SERVING, SPECS, 100, everybody - working, *in_order)
        return torch.from_numpy(reward)

    def value(coalition: Coalition) -> Tensor:
        return measured(at_work(SERVING, coalition, SPECS))

    begin = time.process_time()
    exact = exact_shapley(members, value)
    seconds = (time.process_time() - begin) / measured.cache_info().currsize
    alone = leave_one_out(members, value)
    plan = plan_of(SERVING, SPECS, most=MOST, seed=0)
    drawn = sampled_shapley(plan.orders, value)
    worth = float((value(everybody) - value(frozenset())).mean())
    for found in (exact, drawn):
        assert math.isclose(math.fsum(one.mean for one in found.values()), worth, abs_tol=1e-9)
    rows: list[dict[str, Any]] = [
        {
            "agent": one,
            "leave_one_out": round(alone[one].mean, 5),
            "shapley": round(exact[one].mean, 5),
            "from_orders": round(drawn[one].mean, 5),
            "interval": [round(drawn[one].low, 5), round(drawn[one].high, 5)],
        }
        for one in sorted(members, key=lambda one: -exact[one].mean)
    ]
    total = {
        "data": name,
        "whole": round(float(value(everybody).mean()), 5),
        "nobody": round(float(value(frozenset()).mean()), 5),
        "coalitions": 2 ** len(members),
        "that_differ": measured.cache_info().currsize,
        "cpu_seconds_each": round(seconds, 3),
        "orders": len(plan.orders),
        "measured_for_orders": len({at_work(SERVING, one, SPECS) for one in plan.coalitions}),
    }
    for row in (total, *rows):
        print(row)
    keep("credit", [total, *rows])


if __name__ == "__main__":
    main()
