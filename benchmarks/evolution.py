"""What each method of search adds, at an equal budget of training seconds.

    OMP_NUM_THREADS=1 python benchmarks/evolution.py [--seeds 5] [--jobs 3]

One agent (BPR-MF, its decision space without the costliest part) on the newest ratings of each
user of ML-100K, leave-one-out, validation part. The reward is NDCG@10 of the search users, as in a
cycle. TPE alone trains a fixed number of candidates in full; what that takes is the budget of all
others. *Cascade* is TPE whose candidates first pass the short rung; *cascade, memory* also
remembers random candidates of an earlier cycle on the same data: that cycle paid for them, so they
cost nothing here, and their rewards don't count as found either. Seconds are those of the
processor, of whole trials: preparing, training, and measuring. The result of every seed goes to
``results/evolution.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import islice, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from published import RESULTS, TASKS, machine

from agenticrs.agents.catalogue import load_agents
from agenticrs.agents.trial import TrialRequest, run_trial
from agenticrs.evolution.halving import goes_on
from agenticrs.evolution.methods.method import Method, State, Tried
from agenticrs.evolution.methods.search import Search
from agenticrs.evolution.rungs import complete
from agenticrs.evolution.selection import mean_reward
from agenticrs.platform.data.dataset import Dataset, Fold
from agenticrs.platform.data.splits import make_fold, search_users
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import SearchMethod
from agenticrs.rewards.significance import bootstrap_mean

AGENT, METRIC = "bpr", "ndcg@10"
NEWEST = 15
"""Ratings of each user: with all of them the comparison would take hours."""
HIGHEST = {"embedding_size": 64, "negatives": 8, "epochs": 30}
"""Upper ends instead of the agent's own, for the same reason."""
TRIALS = 40
"""Candidates of TPE alone."""
EARLIER = 10
"""Random candidates of the earlier cycle that memory holds."""
SHORT = (0.25, 0.5)
"""The short rung: share of the epochs, and of the held-out users."""
GOAL = 1 / 3
"""The share of TPE's seconds within which its best is to be reached."""
POINTS = (10, 20, 40)
RESULT = RESULTS / "evolution.json"


@dataclass(frozen=True)
class Way:
    """A way to search: which method, whether with the short rung, whether with memory."""

    method: SearchMethod
    short: bool = False
    memory: bool = False


WAYS: Mapping[str, Way] = {
    "random": Way("random"),
    "tpe": Way("tpe"),
    "cascade": Way("tpe", short=True),
    "cascade, memory": Way("tpe", short=True, memory=True),
}


@dataclass(frozen=True)
class Step:
    """One training, or a candidate of a search, whose seconds are all up to its end.

    No rewards where it was not finished. ``confirm`` is the reward of the other users.
    """

    seconds: float
    reward: float | None = None
    confirm: float | None = None


Measure = Callable[[Mapping[str, Any], int, bool], Step]
"""Values, seed, whether in short -> what came of it."""


class Trials:
    """Trains candidates of one fold; the same point is trained once and costs everybody alike."""

    def __init__(self, fold: Fold) -> None:
        self._fold, self._agent = fold, load_agents()[AGENT]
        self._known: dict[str, Step] = {}

    def __call__(self, values: Mapping[str, Any], seed: int, short: bool) -> Step:
        """Train and measure, or remember."""
        config = complete(self._agent, values)
        key = json.dumps([config, seed, short], sort_keys=True)
        if key not in self._known:
            effort, users = SHORT if short else (1.0, 1.0)
            request = TrialRequest(AGENT, config, seed, effort, users, device="cpu")
            self._known[key] = self._train(request)
        return self._known[key]

    def _train(self, request: TrialRequest) -> Step:
        begin = time.process_time()
        try:
            found = run_trial(self._fold, request)
        except AgentError:  # it diverged: that is a result, and was paid for
            return Step(time.process_time() - begin)
        seconds = time.process_time() - begin
        values = found.per_user[METRIC]
        confirm = float(np.mean(values[~search_users(found.users)]))
        return Step(seconds, mean_reward(values, found.users), confirm)


def newest(dataset: Dataset, n: int) -> Dataset:
    """The last ``n`` interactions of each user; rows are in the order of user and time."""
    rows = dataset.interactions
    counts = np.bincount(rows.user, minlength=dataset.n_users)
    after = np.cumsum(counts)[rows.user] - np.arange(len(rows))
    return replace(dataset, interactions=rows.take(after <= n))


def search(method: Method, measure: Measure, seed: int, *, short: bool = False) -> Iterator[Step]:
    """Candidates one after the other, without an end. Each is trained with a seed of its own."""
    tried: list[Tried] = []
    at_rung: list[float] = []
    spent = 0.0
    while True:
        number = len(tried)
        values = method.ask(tried, 1)[0].values
        low: float | None = None
        if short:
            first = measure(values, seed + number, True)
            spent, low = spent + first.seconds, first.reward
            passed = low is not None and goes_on(low, at_rung)
            at_rung += [] if low is None else [low]
            if not passed:
                stopped: State = "failed" if low is None else "pruned"
                tried.append(Tried(number, values, stopped, None, low))
                yield Step(spent)
                continue
        whole = measure(values, seed + number, False)
        spent += whole.seconds
        tried.append(_tried(number, values, whole, low))
        yield Step(spent, whole.reward, whole.confirm)


def compare(seed: int, measure: Measure, trials: int = TRIALS) -> dict[str, list[Step]]:
    """All ways with one seed, each up to the seconds that TPE alone takes for ``trials``."""
    space = [
        parameter.model_copy(update={"high": HIGHEST[parameter.name]})
        if parameter.name in HIGHEST
        else parameter
        for parameter in load_agents()[AGENT].spec.space.expand()
    ]
    begin = 1000 * seed
    before = Search(space, "random", seed=begin + 500)
    earlier: list[Tried] = []
    for number in range(EARLIER):
        values = before.ask(earlier, 1)[0].values
        earlier.append(_tried(number, values, measure(values, begin + 500 + number, False)))
    found_by: dict[str, list[Step]] = {}
    for name in sorted(WAYS, key=lambda name: name != "tpe"):
        way = WAYS[name]
        method = Search(space, way.method, begin, remembered=earlier if way.memory else ())
        stream = search(method, measure, begin, short=way.short)
        if name == "tpe":
            found_by[name] = list(islice(stream, trials))
        else:
            budget = found_by["tpe"][-1].seconds
            found_by[name] = _within(budget, stream)
        print(f"seed {seed}, {name}: {len(found_by[name])} candidates", flush=True)
    return {name: found_by[name] for name in WAYS}


def _within(seconds: float, steps: Iterable[Step]) -> list[Step]:
    return list(takewhile(lambda step: step.seconds <= seconds, steps))


def _tried(
    number: int, values: Mapping[str, Any], found: Step, short: float | None = None
) -> Tried:
    state: State = "failed" if found.reward is None else "done"
    return Tried(number, values, state, found.reward, short)


def best(steps: Sequence[Step]) -> Step | None:
    """The step with the highest reward, the first of equals."""
    done = [step for step in steps if step.reward is not None]
    return max(done, key=lambda step: step.reward or 0.0, default=None)


def seconds_to(steps: Sequence[Step], reward: float) -> float:
    """Seconds until a reward is reached; infinite where it never is."""
    reached = (s.seconds for s in steps if s.reward is not None and s.reward >= reward)
    return next(reached, math.inf)


def shares(row: Mapping[str, Sequence[Step]]) -> dict[str, float]:
    """By way: the share of all of TPE's seconds after which TPE's best is reached."""
    alone = row["tpe"]
    goal = best(alone)
    if goal is None or goal.reward is None:
        return dict.fromkeys(row, math.inf)
    return {way: seconds_to(s, goal.reward) / alone[-1].seconds for way, s in row.items()}


def median_interval(values: Sequence[float], samples: int = 4000) -> tuple[float, float, float]:
    """Median with a 95 % bootstrap interval over seeds; unreached ones are infinite.

    Of an even number the higher of the middle two, which is the careful one for a censored time.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    middle = len(ordered) // 2
    drawn = np.random.default_rng(0).integers(len(ordered), size=(samples, len(ordered)))
    medians = np.sort(np.sort(ordered[drawn], axis=1)[:, middle])
    low, high = medians[int(0.025 * samples)], medians[int(0.975 * samples) - 1]
    return float(ordered[middle]), float(low), float(high)


def table(rows: Sequence[Mapping[str, Sequence[Step]]]) -> str:
    """What is in the documentation: rewards by candidates and by seconds, and who reaches TPE."""
    heads = [f"after {n}" for n in POINTS]
    heads += ["a third of the seconds", "all", "less TPE", "confirm users", "candidates", "share"]
    lines = ["| way | " + " | ".join(heads) + " |", "| --- " * (1 + len(heads)) + "|"]
    for way in WAYS:
        cells = [_mean([_reward(row[way][:n]) for row in rows]) for n in POINTS]
        for part in (GOAL, 1.0):
            within = [_within(part * row["tpe"][-1].seconds, row[way]) for row in rows]
            cells.append(_mean([_reward(steps) for steps in within]))
        gains = torch.tensor([_reward(row[way]) - _reward(row["tpe"]) for row in rows])
        gain = bootstrap_mean(gains, seed=0)
        cells.append(f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
        picked = [best(row[way]) for row in rows]
        cells.append(_mean([p.confirm for p in picked if p is not None and p.confirm is not None]))
        cells.append(f"{np.median([len(row[way]) for row in rows]):.0f}")
        middle, low, high = (_share(v) for v in median_interval([shares(r)[way] for r in rows]))
        cells.append(f"{middle} [{low}, {high}]")
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _reward(steps: Sequence[Step]) -> float:
    found = best(steps)
    return 0.0 if found is None or found.reward is None else found.reward


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f}"


def _share(value: float) -> str:
    return "> 1" if math.isinf(value) else f"{value:.2f}"


def _one_seed(seed: int) -> dict[str, list[Step]]:
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        store = DatasetStore(Path(folder))
        dataset = newest(store.save("data", TASKS["ml-100k"].read(), keep_good=True), NEWEST)
    return compare(seed, Trials(make_fold(dataset, "leave_one_out", "valid")))


def main() -> None:
    """Run the seeds, write each down when it is done, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="seeds at the same time")
    asked = parser.parse_args()
    done: dict[int, dict[str, list[Step]]] = {}
    with ProcessPoolExecutor(asked.jobs) as pool:
        futures = {pool.submit(_one_seed, seed): seed for seed in range(asked.seeds)}
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            steps = {
                str(seed): {way: [asdict(s) for s in found] for way, found in row.items()}
                for seed, row in sorted(done.items())
            }
            told = {"machine": machine(), "trials": TRIALS, "newest": NEWEST, "seeds": steps}
            RESULT.write_text(json.dumps(told, indent=1) + "\n")
            print(f"{len(done)} seeds\n{table(list(done.values()))}", flush=True)


if __name__ == "__main__":
    main()
