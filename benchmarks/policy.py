"""Trials that a policy needs: carried over from earlier cycles, cold, and beside random and TPE.

python benchmarks/policy.py [--tasks 20] [--earlier 12] [--trials 40]

Tasks are synthetic. A family has one space (two real ranges, one of them logarithmic, two integer
ranges, two choices) and a smooth regret whose best point moves with the situation; each task has a
situation, a best point of its own near the family's, ripples, a scale of rewards and noise. Results
come back late: each is known nought, one or two waves after its own.
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
TARGETS = {"90": 0.1, "95": 0.05}
"""Noise-free regret to be reached, in those of the mean random candidate: per cent of the way."""
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
        return float(((_WEIGHTS * away**2).sum() + waves + gaps) / self.unit)

    def reward(self, regret: float, generator: np.random.Generator) -> float:
        """What a trial measures."""
        return self.base + self.scale * (NOISE * generator.standard_normal() - regret)


class Family:
    """Tasks whose best points are one smooth function of two hidden properties of the platform."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self._turn = generator.normal(size=(4, 2))
        self._shift = 0.5 * generator.normal(size=4)
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


def needed(regrets: Sequence[float], target: float) -> int:
    """Trials until the target is reached; one more than there were if it is not."""
    hits = np.flatnonzero(np.array(regrets) <= target)
    return int(hits[0]) + 1 if len(hits) else len(regrets) + 1


def carry(tasks: Sequence[Task], trials: int, seed: int) -> PolicyState:
    """What a policy knows after cycles on ``tasks``, one after the other, from cold."""
    state = PolicyState.cold(SPACE, seed)
    for place, task in enumerate(tasks):
        policy = Policy(SPACE, task.situation, state, f"earlier-{place}", seed + place)
        _, finished = run(policy, task, trials, seed + place)
        state = PolicyState.from_bytes(policy.learnt(finished).to_bytes(), SPACE)
    return state


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
    """A row for each method, and differences of the first to the others on the same tasks."""
    counts: dict[str, dict[str, list[float]]] = {}
    rows: dict[str, Any] = {}
    for name, make in methods.items():
        begin = time.perf_counter()
        runs = []
        for seed, task in enumerate(tasks):
            regrets, finished = run(make(task, seed), task, trials, 1000 + seed)
            chosen = max(finished, key=lambda t: t.reward or 0.0).number
            runs.append((regrets, regrets[chosen]))
        counts[name] = {
            share: [float(needed(regrets, target)) for regrets, _ in runs]
            for share, target in TARGETS.items()
        }
        rows[name] = {
            "trials_needed": {share: interval(c) for share, c in counts[name].items()},
            "reached": {s: sum(n <= trials for n in c) for s, c in counts[name].items()},
            "regret_of_first_wave": interval([float(np.mean(r[:WAVE])) for r, _ in runs]),
            "regret_of_last_half": interval([float(np.mean(r[trials // 2 :])) for r, _ in runs]),
            "regret_of_chosen": interval([chosen for _, chosen in runs]),
            "seconds_a_task": round((time.perf_counter() - begin) / len(tasks), 2),
        }
        print(name, rows[name])
    first, *others = methods
    for other in others:
        fewer = {
            share: interval([a - b for a, b in zip(c, counts[first][share], strict=True)])
            for share, c in counts[other].items()
        }
        rows[first][f"fewer_than_{other}"] = fewer
        print(f"{first} needs fewer than {other}:", fewer)
    return rows


def main() -> None:
    """Compare on the family that was learnt from, and on one that has nothing to do with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--earlier", type=int, default=12)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--family", type=int, default=1)
    parser.add_argument("--out", default="policy.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    generator = np.random.default_rng(arguments.family)
    family, other = Family(arguments.family), Family(arguments.family + 1)
    earlier = [family.task(generator) for _ in range(arguments.earlier)]
    state = carry(earlier, arguments.trials, seed=0)
    print(f"carried over {len(state.memory)} trials, {time.perf_counter() - begin:.0f} s")

    def policy(stored: PolicyState | None) -> Callable[[Task, int], Method]:
        def make(task: Task, seed: int) -> Method:
            known = stored or PolicyState.cold(SPACE, seed)
            return Policy(SPACE, task.situation, known, f"now-{seed}", seed)

        return make

    methods: dict[str, Callable[[Task, int], Method]] = {
        "carried over": policy(state),
        "cold": policy(None),
        "random": lambda _, seed: search("random", seed),
        "TPE": lambda _, seed: search("tpe", seed),
    }
    content: dict[str, Any] = {"command": "python benchmarks/policy.py", **vars(arguments)}
    for title, drawn in (("same family", family), ("another family", other)):
        print(title)
        tasks = [drawn.task(generator) for _ in range(arguments.tasks)]
        content[title] = compare(methods, tasks, arguments.trials)
    content["seconds"] = round(time.perf_counter() - begin)
    (RESULTS / arguments.out).write_text(json.dumps(content, indent=1) + "\n")
    print(f"{content['seconds']} s")


if __name__ == "__main__":
    main()
