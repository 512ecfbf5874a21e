"""Agents on public data, in the protocols of published tables.

    python benchmarks/published.py --task ml-1m --agents popularity,itemknn,ease,bpr,sasrec

Ranks the whole catalogue, without what the user already has, by the package's own importers,
splits and evaluation. Results go to ``benchmarks/results/<task>.json``, one row for each agent;
rows of agents that are not asked for stay. Data is looked for in ``AGENTICRS_DATA`` (default
``../shared/data``). What each protocol means is written in ``docs/results.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch

from agenticrs.agents.agent import Agent, Budget
from agenticrs.agents.batch import Candidates
from agenticrs.agents.catalogue import load_agents
from agenticrs.agents.evaluation import evaluate
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.importers.kuairand import read_kuairand
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.raw import RawLog
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.rewards.ranking import ranking_metrics
from agenticrs.rewards.significance import bootstrap_mean

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results"
METRICS = ("ndcg@10", "recall@10", "hit@10", "mrr@10", "precision@10")
CANDIDATES = 100
"""How many items a ranker gets from the agent before it."""


@dataclass(frozen=True)
class Task:
    """A dataset, a split, what is trained on, and the configs that differ from the defaults."""

    read: Callable[[], RawLog]
    split: str
    train_on: Literal["train", "train+valid"]
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    validate_every: Mapping[str, int] = field(default_factory=dict)
    """Agents whose epoch is chosen on the validation part, and how often that is looked at."""


NO_RECENCY = 1e9
"""A half-life so long that entries of a history weigh the same: the models as published."""

TASKS = {
    "ml-100k": Task(
        read=lambda: read_movielens(DATA / "ml-100k"),
        split="random:valid=0.1,test=0.25,seed=0",
        train_on="train+valid",
        configs={
            "popularity": {"half_life_days": 1e6},
            "itemknn": {"half_life": NO_RECENCY, "shrinkage": 5.0},
            "ease": {"half_life": NO_RECENCY, "l2": 500.0},
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
                "max_length": 200,
                "dropout": 0.2,
                "epochs": 60,
                "learning_rate": 2e-3,
                "batch_size": 64,
            },
        },
        validate_every={"sasrec": 4},
    ),
    "kuairand": Task(
        read=lambda: read_kuairand(DATA / "kuairand-pure"),
        split="leave_one_out",
        train_on="train+valid",
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
    def of(task: Task) -> Problem:
        """Import and split."""
        with TemporaryDirectory() as folder:
            dataset = DatasetStore(Path(folder)).save("data", task.read(), keep_good=True)
        valid = make_fold(dataset, task.split, "valid")
        test = make_fold(dataset, task.split, "test")
        known = TrainingData.of(test.dataset)
        train = TrainingData.of(valid.dataset) if task.train_on == "train" else known
        return Problem(train, Heldout.of(valid), known, Heldout.of(test))


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


def run(
    name: str, task_name: str, task: Task, problem: Problem, seed: int, upstream: Agent[Any] | None
) -> tuple[Agent[Any], dict[str, Any]]:
    """Train one agent and test it once."""
    agent_type = load_agents()[name]
    config = agent_type.config_type.model_validate(dict(task.configs.get(name, {})))
    agent = agent_type(config, seed=seed)
    start, cpu = time.perf_counter(), time.process_time()
    watch = None
    if name in task.validate_every:
        file = RESULTS / f"{task_name}-{name}-validation.json"
        watch = BestEpoch(agent, problem, task.validate_every[name], file)
    agent.fit(problem.train, Budget(report=watch) if watch else Budget())
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
    per_user = ranking_metrics(found.ranked, problem.test.offsets, problem.test.items, [10])
    interval = bootstrap_mean(per_user["ndcg@10"], seed=0)
    return agent, {
        "agent": name,
        "candidates_from": upstream.spec.name if upstream is not None else None,
        "config": config.model_dump(mode="json"),
        "seed": seed,
        **{metric: float(per_user[metric].mean()) for metric in METRICS},
        "ndcg@10 interval": [interval.low, interval.high],
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


def main() -> None:
    """Run the agents in turn and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--agents", default="popularity,itemknn,ease,bpr,sasrec,dcn")
    parser.add_argument("--upstream", default="ease", help="whose candidates a ranker gets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    task = TASKS[chosen.task]
    problem = Problem.of(task)
    fitted: dict[str, Agent[Any]] = {}
    for name in chosen.agents.split(","):
        upstream = None
        if load_agents()[name].spec.role == "ranking":
            if chosen.upstream not in fitted:
                fitted[chosen.upstream], _ = run(
                    chosen.upstream, chosen.task, task, problem, chosen.seed, None
                )
            upstream = fitted[chosen.upstream]
        fitted[name], row = run(name, chosen.task, task, problem, chosen.seed, upstream)
        row.update(machine())
        print(
            f"{name:12s} ndcg@10 {row['ndcg@10']:.4f} recall@10 {row['recall@10']:.4f} "
            f"fit {row['fit_seconds']:.1f} s",
            flush=True,
        )
        save(chosen.task, task, row)


def save(task_name: str, task: Task, row: dict[str, Any]) -> None:
    """Put the row into the task's file, in place of the same agent's and seed's older one."""
    file = RESULTS / f"{task_name}.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    same = ("agent", "candidates_from", "seed")
    rows = [old for old in rows if any(old[key] != row[key] for key in same)]
    content = {"task": task_name, "split": task.split, "trained_on": task.train_on}
    file.write_text(json.dumps({**content, "rows": [*rows, row]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
