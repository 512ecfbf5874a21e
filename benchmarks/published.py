"""Agents on public data, in the protocols of published tables.

    python benchmarks/published.py --task ml-1m --agents popularity,itemknn,ease,bpr,sasrec

Ranks the whole catalogue, without what the user already has, by the package's own importers,
splits and evaluation. Results go to ``benchmarks/results/<task>.json``, one row for each agent
and seed; rows that are not asked for stay. Data is looked for in ``AGENTICRS_DATA`` (default
``../shared/data``). What each protocol means is written in ``docs/results.md``.

With ``--grid '{"l2": [300, 500]}'`` every combination of these values is first tried on
validation parts of the training data, and the best one is tested. Tries go to ``choices`` in the
same file. ``--valid-only`` ends there: long trainings are chosen with shorter ones.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from agenticrs.agents import artifact
from agenticrs.agents.agent import Agent, Budget
from agenticrs.agents.batch import Candidates
from agenticrs.agents.catalogue import load_agents
from agenticrs.agents.evaluation import evaluate
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Dataset, Fold, Positive
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.importers.kuairand import read_kuairand
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.raw import Declaration, RawLog
from agenticrs.platform.data.splits import Part, make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.rewards.ranking import ranking_metrics
from agenticrs.rewards.significance import bootstrap_mean

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results"
FAMILIES = ("ndcg", "recall", "hit", "mrr", "precision")
PARTS = ("train", "valid", "test")
FILES = "files"
"""A split in which the source itself says what is held out (``read_parts``)."""
CANDIDATES = 100
"""How many items a ranker gets from the agent before it."""


@dataclass(frozen=True)
class Task:
    """A dataset, a split, what is trained on, and the configs that differ from the defaults.

    ``split`` is ``FILES`` or a name for ``make_fold``, in which ``{seed}`` becomes the run's seed.
    """

    read: Callable[[], RawLog]
    split: str
    train_on: Literal["train", "train+valid"]
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    validate_every: Mapping[str, int] = field(default_factory=dict)
    """Agents whose epoch is chosen on the validation part, and how often that is looked at."""
    cut: int = 10
    """How long the lists are that count."""
    draws: int = 0
    """How many validation parts are drawn anew from train and valid together to choose configs on,
    each as large as the split's; 0: the split's own one."""


def read_parts(folder: Path) -> RawLog:
    """Files with a user and the user's items in each line, one file for each of ``PARTS``.

    There are no times: the number of the part stands in their place.
    """
    users: list[str] = []
    items: list[str] = []
    parts: list[int] = []
    for part, name in enumerate(PARTS):
        with gzip.open(folder / f"{name}.txt.gz", "rt") as file:
            for line in file:
                user, *found = line.split()
                users += [user] * len(found)
                items += found
                parts += [part] * len(found)
    columns = {"user_id": users, "item_id": items, "timestamp": parts, "click": np.ones(len(users))}
    return RawLog(
        interactions=pa.table(columns),
        users=pa.table({"user_id": pa.array([], pa.string())}),
        items=pa.table({"item_id": pa.array([], pa.string())}),
        declaration=Declaration(Positive("click", 1.0), has_times=False),
    )


NO_RECENCY = 1e9
"""A half-life so long that entries of a history weigh the same: the models as published."""

TASKS = {
    "ml-100k": Task(
        read=lambda: read_movielens(DATA / "ml-100k"),
        split="random:valid=0.1,test=0.25,seed={seed}",
        train_on="train+valid",
        draws=3,
        configs={
            "popularity": {"half_life_days": 1e6},
            "itemknn": {"half_life": NO_RECENCY, "shrinkage": 5.0},
            "ease": {"half_life": NO_RECENCY, "l2": 500.0},
            "slim": {"half_life": NO_RECENCY, "neighbours": 400},
        },
    ),
    "ml-1m": Task(
        read=lambda: read_movielens(DATA / "ml-1m"),
        split="leave_one_out",
        train_on="train",
        configs={
            "bpr": {"l2": 0.01, "negatives": 8, "batch_size": 8192},
            "ease": {"half_life": 4.0},
            "itemknn": {"half_life": 4.0},
            "sasrec": {
                "embedding_size": 128,
                "max_length": 200,
                "dropout": 0.25,
                "epochs": 40,
                "learning_rate": 2e-3,
                "batch_size": 64,
            },
            "hstu": {
                "embedding_size": 128,
                "max_length": 200,
                "dropout": 0.25,
                "epochs": 24,
                "learning_rate": 2e-3,
                "batch_size": 64,
                "times": 0,
            },
        },
        validate_every={"sasrec": 5, "hstu": 4},
    ),
    "kuairand": Task(
        read=lambda: read_kuairand(DATA / "kuairand-pure"),
        split="leave_one_out",
        train_on="train+valid",
    ),
    "gowalla": Task(
        read=lambda: read_parts(DATA / "gowalla-lightgcn"),
        split=FILES,
        train_on="train+valid",
        cut=20,
        configs={
            "popularity": {"half_life_days": 1e6},
            "itemknn": {"half_life": NO_RECENCY},
            "ease": {"half_life": NO_RECENCY, "l2": 200.0, "max_items": 46_000},
            "lightgcn": {
                "layers": 3,
                "negatives": 512,
                "temperature": 0.15,
                "learning_rate": 0.02,
                "l2": 0.0,
                "epochs": 16,
            },
        },
    ),
    "generated": Task(
        read=lambda: generate(GeneratorConfig()).raw,
        split="leave_one_out",
        train_on="train+valid",
    ),
}


@dataclass(frozen=True)
class Problem:
    """A task's data: to learn from, to choose epochs with, and to be tested on.

    ``known`` holds the histories at test time, which include the validation part.
    """

    train: TrainingData
    valid: Heldout
    known: TrainingData
    test: Heldout

    @staticmethod
    def of(task: Task, seed: int) -> tuple[Problem, list[Problem]]:
        """Import and split: the task itself, and tasks to choose configs on.

        The latter are trained on and tested with nothing but the former's train and valid.
        """
        with TemporaryDirectory() as folder:
            dataset = DatasetStore(Path(folder)).save("data", task.read(), keep_good=True)
        split = task.split.format(seed=seed)
        valid, test = fold(dataset, split, "valid"), fold(dataset, split, "test")
        train, known = TrainingData.of(valid.dataset), TrainingData.of(test.dataset)
        truth = Heldout.of(valid)
        real = Problem(train if task.train_on == "train" else known, truth, known, Heldout.of(test))
        share = len(valid.heldout) / len(test.dataset.interactions)
        drawn = [
            make_fold(test.dataset, f"random:valid=0.001,test={share:.6f},seed={draw}", "test")
            for draw in range(task.draws)
        ]
        choosing = [
            Problem(data := TrainingData.of(one.dataset), Heldout.of(one), data, Heldout.of(one))
            for one in drawn
        ]
        return real, choosing or [Problem(train, truth, train, truth)]


def fold(dataset: Dataset, split: str, part: Part) -> Fold:
    """``make_fold``, or the parts as the source has them."""
    if split != FILES:
        return make_fold(dataset, split, part)
    rows, number = dataset.interactions, PARTS.index(part)
    history = replace(dataset, interactions=rows.take(rows.timestamp < number))
    return Fold(history, rows.take(rows.timestamp == number), split, part)


class BestEpoch:
    """A budget's ``report`` that keeps the weights of the best validated epoch."""

    def __init__(self, agent: Agent[Any], problem: Problem, every: int, file: Path) -> None:
        self._agent, self._problem, self._every, self._file = agent, problem, every, file
        self._epoch, self._best = 0, -1.0
        self._state: dict[str, torch.Tensor] = {}
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.curve: list[dict[str, Any]] = []

    def __call__(self, fraction: float, text: str) -> None:
        """Validate every few epochs, write the curve, and remember the best weights."""
        self._epoch += 1
        if self._epoch % self._every and fraction < 1.0:
            return
        start, cpu = time.perf_counter(), time.process_time()
        found = evaluate(self._agent, self._problem.train, self._problem.valid)
        score = found.totals["ndcg@10"]
        self.curve.append({"epoch": self._epoch, "ndcg@10": score, "text": text})
        self._file.write_text(json.dumps(self.curve, indent=1) + "\n")
        print(f"  {text}: validation ndcg@10 {score:.4f}", flush=True)
        if score > self._best:
            self._best = score
            self._state = {name: w.detach().clone() for name, w in self._agent.state().items()}
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu

    def restore(self) -> None:
        """Give the agent the best weights back."""
        train = self._problem.train
        self._agent.load(self._state, n_users=train.n_users, n_items=train.n_items)


def told(fraction: float, text: str) -> None:
    """A budget's ``report`` that shows how far a training is."""
    print(f"  {text}", flush=True)


def run(
    name: str,
    task_name: str,
    task: Task,
    problem: Problem,
    seed: int,
    upstream: Agent[Any] | None,
    changes: Mapping[str, Any],
) -> tuple[Agent[Any], dict[str, Any]]:
    """Train one agent, with ``changes`` to the task's config, and test it once."""
    agent_type = load_agents()[name]
    config = agent_type.config_type.model_validate({**task.configs.get(name, {}), **changes})
    agent = agent_type(config, seed=seed)
    start, cpu = time.perf_counter(), time.process_time()
    watch = None
    if name in task.validate_every:
        file = RESULTS / f"{task_name}-{name}-validation.json"
        watch = BestEpoch(agent, problem, task.validate_every[name], file)
    agent.fit(problem.train, Budget(report=watch or told))
    fit_seconds = time.perf_counter() - start - (watch.seconds if watch else 0.0)
    cpu_seconds = time.process_time() - cpu - (watch.cpu_seconds if watch else 0.0)
    if watch:
        watch.restore()
    inputs: list[Candidates] = []
    if upstream is not None:
        users = problem.known.histories.take(problem.test.users)
        answer = upstream.act(users, (), CANDIDATES)
        inputs = [answer] if isinstance(answer, Candidates) else []
    start = time.perf_counter()
    found = evaluate(agent, problem.known, problem.test, inputs)
    act_seconds = time.perf_counter() - start
    per_user = ranking_metrics(found.ranked, problem.test.offsets, problem.test.items, [task.cut])
    metrics = [f"{family}@{task.cut}" for family in FAMILIES]
    interval = bootstrap_mean(per_user[metrics[0]], seed=0)
    return agent, {
        "agent": name,
        "candidates_from": upstream.spec.name if upstream is not None else None,
        "config": config.model_dump(mode="json"),
        "seed": seed,
        **{metric: float(per_user[metric].mean()) for metric in metrics},
        f"{metrics[0]} interval": [interval.low, interval.high],
        "recall@50": found.totals["recall@50"],
        "coverage@10": found.totals["coverage@10"],
        "test_users": len(problem.test.users),
        "fit_seconds": fit_seconds,
        "fit_cpu_seconds": cpu_seconds,
        "evaluation_seconds": act_seconds,
        **({"validation": watch.curve} if watch else {}),
    }


def machine() -> dict[str, Any]:
    """What the figures depend on besides the data."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "commit": commit,
    }


def choose(
    name: str,
    task_name: str,
    problems: Sequence[Problem],
    seed: int,
    upstream: Agent[Any] | None,
    grid: Mapping[str, Sequence[Any]],
) -> dict[str, Any]:
    """The combination that ranks best on the validation parts; all tries are written down."""
    task, tries = TASKS[task_name], []
    metrics = [f"{family}@{task.cut}" for family in FAMILIES[:2]]
    for values in itertools.product(*grid.values()):
        changes = dict(zip(grid, values, strict=True))
        rows = [run(name, task_name, task, p, seed, upstream, changes)[1] for p in problems]
        means = {m: sum(row[m] for row in rows) / len(rows) for m in (*metrics, "fit_seconds")}
        tries.append({"agent": name, "seed": seed, "changes": changes, **means})
        print(f"  {name} {changes}: {means}", flush=True)
        save(task_name, "choices", tries[-1], ("agent", "seed", "changes"))
    best: dict[str, Any] = max(tries, key=lambda one: one[metrics[0]])["changes"]
    return best


def main() -> None:
    """Run the agents in turn and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--agents", default="popularity,itemknn,ease,bpr,sasrec,dcn")
    parser.add_argument("--upstream", default="ease", help="whose candidates a ranker gets")
    parser.add_argument("--seed", type=int, default=0, help="of the agents and of a drawn split")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--grid", type=json.loads, default={}, help="values to choose among")
    parser.add_argument("--valid-only", action="store_true", help="choose, and do not test")
    parser.add_argument("--keep", type=Path, help="a folder for the trained agents")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    name_of, seed, task = chosen.task, chosen.seed, TASKS[chosen.task]
    problem, choosing = Problem.of(task, seed)
    fitted: dict[str, Agent[Any]] = {}
    for name in chosen.agents.split(","):
        upstream = None
        if load_agents()[name].spec.role == "ranking":
            first = chosen.upstream
            if first not in fitted:
                fitted[first], _ = run(first, name_of, task, problem, seed, None, {})
            upstream = fitted[first]
        changes = (
            choose(name, name_of, choosing, seed, upstream, chosen.grid) if chosen.grid else {}
        )
        if chosen.valid_only:
            continue
        fitted[name], row = run(name, name_of, task, problem, seed, upstream, changes)
        row.update(machine())
        quality = " ".join(f"{m}@{task.cut} {row[f'{m}@{task.cut}']:.4f}" for m in FAMILIES[:2])
        print(f"{name:12s} {quality} fit {row['fit_seconds']:.1f} s", flush=True)
        save(name_of, "rows", row, ("agent", "candidates_from", "seed"))
        if chosen.keep:
            folder = chosen.keep / name_of / f"{name}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            for file, content in artifact.pack(fitted[name]).items():
                (folder / file).write_bytes(content)


def save(task_name: str, table: str, row: dict[str, Any], same: Sequence[str]) -> None:
    """Put the row into a table of the task's file, in place of an older one of the same."""
    file, task = RESULTS / f"{task_name}.json", TASKS[task_name]
    content = json.loads(file.read_text()) if file.exists() else {}
    kept = [old for old in content.get(table, []) if any(old[key] != row[key] for key in same)]
    content |= {"task": task_name, "split": task.split, "trained_on": task.train_on}
    content[table] = [*kept, row]
    if means := mean_rows(content.get("rows", []), task.cut):
        content["means"] = means
    file.write_text(json.dumps(content, indent=1) + "\n")


def mean_rows(rows: Sequence[Mapping[str, Any]], cut: int) -> list[dict[str, Any]]:
    """Each agent's means over seeds, best first, where it has more than one."""
    metrics = [f"{family}@{cut}" for family in FAMILIES]
    means = []
    for agent in {row["agent"] for row in rows}:
        own = [row for row in rows if row["agent"] == agent]
        if len(own) > 1:
            mean = {m: sum(row[m] for row in own) / len(own) for m in metrics}
            means.append({"agent": agent, "seeds": sorted(row["seed"] for row in own), **mean})
    return sorted(means, key=lambda one: -one[metrics[0]])


if __name__ == "__main__":
    main()
