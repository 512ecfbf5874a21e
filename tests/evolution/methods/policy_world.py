"""A small world for tests of the policy: one space, situations, and searches with noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agenticrs.evolution.methods.method import Method, Tried, Values
from agenticrs.evolution.methods.policy_situation import Situation
from agenticrs.registry.spec import Choice, ConcreteParameter, FloatRange, IntRange

SPACE: tuple[ConcreteParameter, ...] = (
    FloatRange(name="rate", low=1e-4, high=1e-1, log=True),
    IntRange(name="layers", low=1, high=6),
    Choice(name="loss", values=("softmax", "bpr", "gbce")),
)


def situation(users: float = 10_000.0) -> Situation:
    """A platform of that size."""
    return Situation(
        users=users,
        items=users / 2,
        interactions=30 * users,
        median_history=20,
        popularity_gini=0.7,
        new_items=0.05,
        outer_weight=0.1,
        trials=24,
        seconds=600,
    )


def quality(values: Values, users: float = 10_000.0) -> float:
    """At most 1. The best rate moves with the size of the platform, from 1e-3.5 to 1e-1.5."""
    best = -2.5 + 0.5 * (np.log10(users) - 4)
    away = (np.log10(values["rate"]) - best) / 3
    cost = {"softmax": 0.0, "gbce": 0.3, "bpr": 0.6}[values["loss"]]
    return float(1 - 4 * away**2 - cost - 0.05 * abs(values["layers"] - 2))


def search(
    method: Method, users: float = 10_000.0, trials: int = 24, noise: float = 0.15, seed: int = 0
) -> tuple[list[float], list[Tried]]:
    """True qualities in waves of four, and the trials. Results come a wave late."""
    generator = np.random.default_rng([seed, 7])
    tried: list[Tried] = []
    true: list[float] = []
    while len(tried) < trials:
        wave = tried[-4:]
        seen = [*tried[:-4], *(replace(t, state="open", reward=None) for t in wave)]
        for candidate in method.ask(seen, 4):
            true.append(quality(candidate.values, users))
            tried.append(
                Tried(
                    number=len(tried),
                    values=candidate.values,
                    state="done",
                    reward=true[-1] + noise * generator.standard_normal(),
                    origin=candidate.origin,
                    note=candidate.note,
                )
            )
    return true, tried
