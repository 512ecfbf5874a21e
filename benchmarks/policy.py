"""Trials that a policy needs: carried over from earlier cycles, cold, and beside random and TPE.

python benchmarks/policy.py [--tasks 20] [--earlier 12] [--trials 40] [--family 7]

Tasks are synthetic. A family has one space (two real ranges, one of them logarithmic, two integer
ranges, two choices) and a smooth regret, in which ranges work together, and whose best point moves
with the situation; each task has a situation, a best point of its own near the family's, ripples, a
scale of rewards and noise. Results come back late: each is known nought, one or two waves after its
own. Settings were chosen on families 1 and 3.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agenticrs.evolution.methods.method import Method, Tried, Values
from agenticrs.evolution.methods.policy import Policy
from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_situation import Situation
from agenticrs.evolution.methods.policy_state import PolicyState
from agenticrs.registry.spec import Choice, ConcreteParameter, FloatRange, IntRange
from agenticrs.rewards.significance import bootstrap_mean

RESULTS = Path(__file__).parent / "results"
SPACE: tuple[ConcreteParameter, ...] = (
    FloatRange(name="learning_rate", low=1e-4, high=1e-1, log=True),
    FloatRange(name="dropout", low=0.0, high=0.8),
    IntRange(name="embedding_size", low=8, high=256, log=True),
    IntRange(name="layers", low=1, high=6),
    Choice(name="loss", values=("softmax", "sampled", "bpr")),
    Choice(name="activation", values=("relu", "gelu", "silu", "tanh")),
)
TARGET = 0.1
"""Noise-free regret to be reached: 90 % of the way from a mean random candidate to the best."""
HISTORIES = 4
"""Policies that are carried over, each from earlier cycles of its own; tasks take turns."""
FIRST = 8
"""Trials at the beginning that are also looked at alone."""
NOISE = 0.1
"""Standard deviation of the noise, in the same unit."""
WAVE = 4
LATEST = 2
"""Waves by which a result may be late."""
_WEIGHTS = np.array([0.6, 1.0, 0.25, 1.0])
"""How much each range matters, in the order of their names."""


@dataclass(frozen=True)
class Task:
    """One thing to tune, in one situation."""

    situation: Situation
    best: np.ndarray
    """(4,) places of the ranges."""
    pull: np.ndarray
    """(4, 4): what it costs to be away from there."""
    gaps: tuple[np.ndarray, ...]
    """What each option of each choice costs, 0 for the best one."""
    ripple: np.ndarray
    """(3, 4) frequencies of small waves."""
    base: float
    scale: float
    unit: float = 1.0
    """Mean regret of a uniform candidate."""

    def regret(self, values: Values) -> float:
        """How far from the best, without noise; 1 is a mean random candidate."""
        row = np.array(Actions(SPACE).row(values))
        away = row[:4] - self.best
        waves = 0.02 * (1 - np.cos(2 * np.pi * self.ripple @ away)).mean()
        gaps = np.concatenate(self.gaps) @ row[4:]
        return float((away @ self.pull @ away + waves + gaps) / self.unit)

    def reward(self, regret: float, generator: np.random.Generator) -> float:
        """What a trial measures."""
        return self.base + self.scale * (NOISE * generator.standard_normal() - regret)


class Family:
    """Tasks whose best points are one smooth function of two hidden properties of the platform."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self._turn = generator.normal(size=(4, 2))
        self._shift = 0.5 * generator.normal(size=4)
        together = np.triu(generator.uniform(-0.3, 0.3, size=(4, 4)), 1)
        self._pull = np.sqrt(np.outer(_WEIGHTS, _WEIGHTS)) * (np.eye(4) + together + together.T)
        self._tastes = [generator.normal(size=(options, 3)) for options in (4, 3)]

    def task(self, generator: np.random.Generator) -> Task:
        """A task drawn from the family."""
        size, activity = generator.uniform(-1, 1, size=2)
        users = 10 ** (4.5 + 1.2 * size + 0.1 * generator.normal())
        history = 10 ** (1.5 + 0.5 * activity + 0.05 * generator.normal())
        hidden = np.array([size, activity])
        place = 0.5 + 0.4 * np.tanh(self._turn @ hidden + self._shift)
        gaps = []
        for taste in self._tastes:
            liking = taste @ np.array([size, activity, 1.0])
            gaps.append(0.08 * (liking.max() - liking))
        task = Task(
            situation=Situation(
                users=users,
                items=users ** (0.9 + 0.03 * generator.normal()),
                interactions=users * history,
                median_history=0.6 * history,
                popularity_gini=float(np.clip(0.7 + 0.05 * generator.normal(), 0, 1)),
                new_items=float(generator.uniform(0, 0.2)),
                outer_weight=0.1,
                trials=40,
                seconds=3600,
            ),
            best=np.clip(place + 0.04 * generator.normal(size=4), 0, 1),
            pull=self._pull,
            gaps=tuple(gaps),
            ripple=generator.integers(1, 4, size=(3, 4)).astype(np.float64),
            base=float(10 ** generator.uniform(-2, 0)),
            scale=float(10 ** generator.uniform(-3, 0)),
        )
        actions = Actions(SPACE)
        rows = [uniform_row(generator) for _ in range(500)]
        uniform = [actions.values(row) for row in rows]
        return replace(task, unit=float(np.mean([task.regret(v) for v in uniform])))


def uniform_row(generator: np.random.Generator) -> list[float]:
    """A row drawn uniformly (the largest of a choice's numbers counts)."""
    return list(generator.uniform(size=Actions(SPACE).width))


def run(method: Method, task: Task, trials: int, seed: int) -> tuple[list[float], list[Tried]]:
    """Noise-free regrets in the order of trials, and all trials with their results."""
    generator = np.random.default_rng([seed, 1])
    finished: list[Tried] = []
    due: list[int] = []
    regrets: list[float] = []
    for wave in range(-(-trials // WAVE)):
        seen = [
            t if due[t.number] <= wave else replace(t, state="open", reward=None) for t in finished
        ]
        for candidate in method.ask(seen, min(WAVE, trials - len(finished))):
            regret = task.regret(candidate.values)
            regrets.append(regret)
            finished.append(
                Tried(
                    number=len(finished),
                    values=candidate.values,
                    state="done",
                    reward=task.reward(regret, generator),
                    origin=candidate.origin,
                    note=candidate.note,
                )
            )
            due.append(wave + 1 + int(generator.integers(LATEST + 1)))
    return regrets, finished


def needed(regrets: Sequence[float]) -> float:
    """Trials until the target is reached; one more than there were if it is not."""
    hits = np.flatnonzero(np.array(regrets) <= TARGET)
    return float(hits[0] + 1 if len(hits) else len(regrets) + 1)


def carry(tasks: Sequence[Task], trials: int, seed: int) -> tuple[PolicyState, list[float]]:
    """What a policy knows after cycles on ``tasks``, from cold, and how each cycle began."""
    state = PolicyState.cold(SPACE)
    beginnings = []
    for place, task in enumerate(tasks):
        policy = Policy(SPACE, task.situation, state, f"earlier-{place}", 100 * seed + place)
        regrets, finished = run(policy, task, trials, 100 * seed + place)
        beginnings.append(float(np.mean(regrets[:FIRST])))
        state = PolicyState.from_bytes(policy.learnt(finished).to_bytes(), SPACE)
    return state, beginnings


def interval(values: Sequence[float]) -> list[float]:
    """Mean, and both ends of its 95 % bootstrap interval over tasks."""
    found = bootstrap_mean(torch.tensor(values, dtype=torch.float64), seed=0)
    return [round(number, 3) for number in (found.mean, found.low, found.high)]


def search(method: Any, seed: int) -> Method:
    """An Optuna sampler behind the same port."""
    from agenticrs.evolution.methods.search import Search

    return Search(SPACE, method, seed)


def compare(
    methods: dict[str, Callable[[Task, int], Method]], tasks: Sequence[Task], trials: int
) -> dict[str, Any]:
    """A row for each method, and by how much the first is below the others on the same tasks."""
    rows: dict[str, Any] = {}
    figures: dict[str, dict[str, list[float]]] = {}
    for name, make in methods.items():
        begin = time.process_time()
        runs = [run(make(task, i), task, trials, 1000 + i)[0] for i, task in enumerate(tasks)]
        figures[name] = {
            "trials_needed": [needed(regrets) for regrets in runs],
            "regret_of_first_8": [float(np.mean(regrets[:FIRST])) for regrets in runs],
            "regret_of_all": [float(np.mean(regrets)) for regrets in runs],
            "least_regret": [min(regrets) for regrets in runs],
        }
        rows[name] = {figure: interval(values) for figure, values in figures[name].items()}
        rows[name]["reached"] = sum(n <= trials for n in figures[name]["trials_needed"])
        rows[name]["processor_seconds_a_task"] = round(
            (time.process_time() - begin) / len(tasks), 2
        )
        print(name, rows[name], flush=True)
    first, *others = methods
    for other in others:
        rows[first][f"less_than_{other}"] = {
            figure: interval([b - a for a, b in zip(mine, figures[other][figure], strict=True)])
            for figure, mine in figures[first].items()
        }
        print(f"{first}, less than {other}:", rows[first][f"less_than_{other}"], flush=True)
    return rows


def main() -> None:
    """Compare on the family that was learnt from, and on one that has nothing to do with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--earlier", type=int, default=12)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--family", type=int, default=7)
    parser.add_argument("--out", default="policy.json")
    arguments = parser.parse_args()
    begin = time.process_time()
    generator = np.random.default_rng(arguments.family)
    family, other = Family(arguments.family), Family(arguments.family + 1)
    histories = [
        carry([family.task(generator) for _ in range(arguments.earlier)], arguments.trials, seed)
        for seed in range(HISTORIES)
    ]
    states = [state for state, _ in histories]
    beginnings = np.mean([beginnings for _, beginnings in histories], axis=0)
    print(f"carried over {len(states[0].memory)} trials, {time.process_time() - begin:.0f} s")
    methods: dict[str, Callable[[Task, int], Method]] = {
        "carried": lambda task, seed: policy(task, states[seed % HISTORIES], seed),
        "cold": lambda task, seed: policy(task, PolicyState.cold(SPACE), seed),
        "random": lambda _, seed: search("random", seed),
        "tpe": lambda _, seed: search("tpe", seed),
    }
    content: dict[str, Any] = {
        "command": "python benchmarks/policy.py",
        **{name: value for name, value in vars(arguments).items() if name != "out"},
        "histories": HISTORIES,
        "target": TARGET,
        "noise": NOISE,
        "regret_of_first_8_in_earlier_cycles": beginnings.round(2).tolist(),
    }
    for title, drawn in (("same family", family), ("another family", other)):
        print(title)
        tasks = [drawn.task(generator) for _ in range(arguments.tasks)]
        content[title] = compare(methods, tasks, arguments.trials)
    content["processor_seconds"] = round(time.process_time() - begin)
    (RESULTS / arguments.out).write_text(json.dumps(content, indent=1) + "\n")
    print(f"{content['processor_seconds']} s")


def policy(task: Task, stored: PolicyState, seed: int) -> Method:
    """The policy of a cycle that tunes a task."""
    return Policy(SPACE, task.situation, stored, f"now-{seed}", seed)


if __name__ == "__main__":
    main()
