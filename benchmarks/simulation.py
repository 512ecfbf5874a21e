"""Simulated users: how fast, how like real ones, and whether they order recommenders rightly.

    OMP_NUM_THREADS=1 python benchmarks/simulation.py [--data ml-100k] [--only speed ordering]

Speed: pages a second of 100,000 users beside a loop over users in plain Python, the same rules and
the same luck, in turn in one process, and beside RecSim, one object a user and one step a page, the
same response model with luck of its own, in a process beside; by the clock, and by processor time
on one thread, which is the same on a machine that is shared. Fidelity: distances on users that
nothing was learnt from, for ML-1M, ML-100K and KuaiRand. Ordering: five recommenders, fitted to the
history of a split, by what they get from simulated users (fitted to that history too, and asked of
users who taught neither) and by NDCG@10 on the held-out items of the same users; for leave-one-out,
for a random quarter and for each user's latest quarter; once by enjoyment, and once by the number
of items taken, which is what NDCG counts. Trust: the score anew, out of the parts that were kept
and the mean tau of the orderings by enjoyment that were kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sidebyside import RESULTS, keep
from simulation_loop import LoopedUsers, browse
from simulation_peer import recsim

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.evaluation import evaluate
from agenticrs.agents.simulation.fidelity import fidelity
from agenticrs.agents.simulation.logbook import rank
from agenticrs.agents.simulation.ordering import ordering
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.simulate import Rules, acting, simulate
from agenticrs.agents.simulation.trust import score_of, trust
from agenticrs.agents.simulation.world import Study, World, fit_world, groups, study
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Dataset, Fold
from agenticrs.platform.data.importers.kuairand import read_kuairand
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
READERS: dict[str, Callable[[Path], Any]] = {
    "ml-1m": read_movielens,
    "ml-100k": read_movielens,
    "kuairand-pure": read_kuairand,
}
RECOMMENDERS = ("trending", "popularity", "cooccurrence", "itemknn", "ease")
USERS, LOOPED, PAIRS = 100_000, 200, 3
DAYS = 3
LATEST = "latest:0.25"
SPLITS = ("leave_one_out", "random:valid=0.1,test=0.25", LATEST)
OUTER, COUNTED = "enjoyment", "taken"
PARTS = ("ordering", "fidelity", "trust", "speed")


def dataset_of(name: str) -> Dataset:
    """The dataset, imported anew."""
    with TemporaryDirectory() as folder:
        return DatasetStore(Path(folder)).save(name, READERS[name](DATA / name))


def speed(name: str, world: World) -> dict[str, Any]:
    """Pages a second: all users at once, one after another, and as RecSim steps."""
    population = Population.drawn(world, USERS, seed=1)
    few = Population.drawn(world, LOOPED, seed=1)
    rules = Rules()
    generator = torch.Generator().manual_seed(0)
    table = torch.randint(world.n_items, (LOOPED * 20, rules.most_pages, rules.page_size))

    class Table:
        """Pages from a table, so that what is measured are the users."""

        def __init__(self) -> None:
            self.page = 0

        def __call__(self, users: UserBatch, k: int) -> torch.Tensor:
            place = torch.randint(len(table), (len(users),), generator=generator)
            return table[place, 0, :k]

    fast, slow, clock, stepped = [], [], [], []
    lengths = {}
    with recsim(few, rules) as peer:
        for _ in range(PAIRS):
            begin, wall = time.process_time(), time.perf_counter()
            outcome = simulate(population, Table(), 1, seed=0, rules=rules)
            pages = float(outcome.signals["pages"].sum())
            fast.append(pages / (time.process_time() - begin))
            clock.append(pages / (time.perf_counter() - wall))
            users = LoopedUsers(few)
            begin = time.process_time()
            read = sum(browse(users, row, table[row], 0, 0) for row in range(LOOPED))
            slow.append(read / (time.process_time() - begin))
            told = peer.once()
            stepped.append(told["pages"] / told["cpu_seconds"])
            lengths = {"ours": outcome.mean("pages"), "recsim": told["pages"] / LOOPED}
    ours, loop, theirs = (statistics.median(side) for side in (fast, slow, stepped))
    row = {
        "part": "speed",
        "data": name,
        "users": USERS,
        "pages_per_cpu_second": round(ours),
        "loop_pages_per_cpu_second": round(loop),
        "cpu_ratio": round(ours / loop, 1),
        "recsim_pages_per_cpu_second": round(theirs),
        "recsim_cpu_ratio": round(ours / theirs, 1),
        "pages_a_visit": {side: round(value, 2) for side, value in lengths.items()},
        "pages_per_second": round(statistics.median(clock)),
        "pairs": PAIRS,
        "load": round(os.getloadavg()[0], 1),
    }
    print(
        f"{name:14} pages a processor second {ours:10,.0f}   loop {loop:8,.0f}   "
        f"ratio {ours / loop:.0f}   recsim {theirs:8,.0f}   ratio {ours / theirs:.0f}   "
        f"pages a second {statistics.median(clock):,.0f}"
    )
    return row


def orders(name: str, dataset: Dataset, split: str) -> dict[str, Any]:
    """Outer rewards of the recommenders in the simulation, and their held-out accuracy."""
    fold = latest(dataset) if split == LATEST else make_fold(dataset, split, "test")
    data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
    world = fit_world(fold.dataset, seed=0)
    rows = (groups(dataset.n_users)[heldout.users] == 2).nonzero()[:, 0]
    heldout = heldout.take(rows)
    population = Population.of(world, heldout.users)
    outer, taken, inner, spent = {}, {}, {}, {}
    for recommender in RECOMMENDERS:
        agent = catalogue.build(recommender, {})
        agent.fit(data, Budget())
        inner[recommender] = evaluate(agent, data, heldout).per_user["ndcg@10"]
        begin = time.process_time()
        outcome = simulate(population, acting(agent), DAYS, seed=0)
        spent[recommender] = round(time.process_time() - begin, 1)
        outer[recommender], taken[recommender] = outcome.signals[OUTER], outcome.signals[COUNTED]
        print(
            f"{name:14} {recommender:14} ndcg@10 {float(inner[recommender].mean()):.4f}   "
            f"{OUTER} {outcome.mean(OUTER):.3f}   {COUNTED} {outcome.mean(COUNTED):.2f}   "
            f"satisfaction {outcome.mean('satisfaction'):.3f}"
        )
    found, counted = ordering(outer, inner, seed=0), ordering(taken, inner, seed=0)
    for by, one in ((OUTER, found), (COUNTED, counted)):
        print(f"{name:14} {split:28} by {by} tau {one.tau:.2f} ({one.low:.2f} to {one.high:.2f})")
    return {
        "part": "ordering",
        "data": name,
        "split": split,
        "users": len(population),
        "days": DAYS,
        "outer": {k: round(float(v.mean()), 4) for k, v in outer.items()},
        "ndcg@10": {k: round(float(v.mean()), 4) for k, v in inner.items()},
        "tau": round(found.tau, 3),
        "interval": [round(found.low, 3), round(found.high, 3)],
        COUNTED: {k: round(float(v.mean()), 4) for k, v in taken.items()},
        "tau_by_taken": round(counted.tau, 3),
        "interval_by_taken": [round(counted.low, 3), round(counted.high, 3)],
        "cpu_seconds": spent,
    }


def latest(dataset: Dataset) -> Fold:
    """The later quarter of each user's rows held out: a split by time that needs no clock."""
    rows = dataset.interactions
    user = torch.from_numpy(rows.user.astype("int64"))
    late = rank(user) >= (0.75 * torch.bincount(user)[user]).ceil()
    pair = user * dataset.n_items + torch.from_numpy(rows.item.astype("int64"))
    positive = torch.from_numpy(dataset.is_positive(rows))
    # An item that the history has already is masked in a full ranking, and one counts once.
    new = (late & positive & ~torch.isin(pair, pair[positive & ~late])).nonzero()[:, 0]
    order = new[pair[new].argsort(stable=True)]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = pair[order][1:] != pair[order][:-1]
    return Fold(
        dataset=replace(dataset, interactions=rows.take((~late).numpy())),
        heldout=rows.take(order[first].sort().values.numpy()),
        split=LATEST,
        part="test",
    )


def likeness(name: str, fitted: Study) -> list[dict[str, Any]]:
    """The fidelity table and the trust score, with the mean tau of the orderings kept."""
    taus = [row["tau"] for row in kept() if row["data"] == name and row["part"] == "ordering"]
    tau = statistics.mean(taus) if taus else None
    found = fidelity(fitted, seed=0)
    rows: list[dict[str, Any]] = []
    for figure in found.figures:
        row = {
            "part": figure.part,
            "data": name,
            "signal": figure.signal,
            **{
                key: round(getattr(figure, key), 4)
                for key in (
                    "real",
                    "simulated",
                    "distance",
                    "divergence",
                    "moved",
                    "noise",
                    "naive",
                )
            },
        }
        rows.append(row)
        print(
            f"{name:14} {figure.part:9} {figure.signal:38} real {figure.real:8.3f}  simulated "
            f"{figure.simulated:8.3f}  js {figure.distance:.3f}  noise {figure.noise:.3f}  "
            f"naive {figure.naive:.3f}"
        )
    for choice in found.choices:
        row = {
            key: round(getattr(choice, key), 4)
            for key in ("accuracy", "precision", "recall", "f1", "auc")
        }
        rows.append(
            {"part": "choice", "data": name, "ratio": choice.m, "users": choice.users, **row}
        )
        print(f"{name:14} 1:{choice.m}  {row}")
    judged = trust(found, tau)
    parts = {k: None if v is None else round(v, 3) for k, v in judged.parts.items()}
    print(f"{name:14} trust {judged.score:.3f}  {parts}")
    rows.append(
        {
            "part": "trust",
            "data": name,
            "score": round(judged.score, 3),
            "parts": parts,
            "users": found.users,
            "events": found.events,
            "assumed": list(fitted.world.assumed),
        }
    )
    return rows


def judged_anew(name: str) -> list[dict[str, Any]]:
    """The row of the trust score, with the orderings that were measured since."""
    taus = [row["tau"] for row in kept() if row["data"] == name and row["part"] == "ordering"]
    rows = [row for row in kept() if row["data"] == name and row["part"] == "trust"]
    for row in rows:
        row["parts"]["ordering"] = round((1 + statistics.mean(taus)) / 2, 3) if taus else None
        row["score"] = round(score_of(row["parts"]), 3)
        print(f"{name:14} trust {row['score']:.3f}  {row['parts']}")
    return rows


def main() -> None:
    """Measure what is asked for, and keep it with what was measured before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=list(READERS), choices=list(READERS))
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--splits", nargs="*", default=list(SPLITS))
    asked = parser.parse_args()
    for name in asked.data:
        dataset = dataset_of(name)
        if "ordering" in asked.only:
            for split in asked.splits:
                put([orders(name, dataset, split)])
        if "fidelity" in asked.only:
            put(likeness(name, study(dataset, seed=0)))
        if "trust" in asked.only:
            put(judged_anew(name))
        if "speed" in asked.only:
            put([speed(name, fit_world(dataset, seed=0))])


def kept() -> list[dict[str, Any]]:
    """The rows of earlier runs."""
    file = RESULTS / "simulation.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    return rows


def put(new: list[dict[str, Any]]) -> None:
    """Keep rows in place of those of the same data, part and split."""
    done = {(row["data"], row["part"], row.get("split")) for row in new}
    old = [row for row in kept() if (row["data"], row["part"], row.get("split")) not in done]
    keep("simulation", sorted(old + new, key=lambda row: (row["data"], row["part"])))


if __name__ == "__main__":
    main()
