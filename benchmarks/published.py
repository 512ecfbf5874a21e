"""Agents on public data, in the protocols of published tables.

    python benchmarks/published.py --task ml-1m --agents popularity,itemknn,ease,bpr,sasrec

Ranks the whole catalogue, without what the user already has, by the package's own importers,
splits and evaluation. Results go to ``benchmarks/results/<task>.json``, one row for each agent
and seed; rows that are not asked for stay. Protocols and data are those of
``published_tasks.py``; what each means is written in ``docs/results.md``.

With ``--grid '{"l2": [300, 500]}'`` every combination of these values is first tried on
validation parts of the training data, and the best one is tested. Tries go to ``choices`` in the
same file. ``--valid-only`` ends there: long trainings are chosen with shorter ones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from published_tasks import TASKS, Problem, Task

from agenticrs.agents import artifact
from agenticrs.agents.agent import Agent, Budget
from agenticrs.agents.batch import Candidates
from agenticrs.agents.catalogue import load_agents
from agenticrs.agents.evaluation import evaluate
from agenticrs.rewards.ranking import ranking_metrics
from agenticrs.rewards.significance import bootstrap_mean

RESULTS = Path(__file__).parent / "results"
FAMILIES = ("ndcg", "recall", "hit", "mrr", "precision")
CANDIDATES = 100
"""How many items a ranker gets from the agent before it."""


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
