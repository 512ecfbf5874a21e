"""What is said of the ways through a shift: levels, times to recover, curves; over seeds.

A row is a seed: its ``ways`` have steps (dictionaries) with ``seconds`` and the metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from agenticrs.rewards.significance import bootstrap_mean

GOAL = 0.95
"""What counts as recovered: a share of the best level that any way reaches on that seed."""
Steps = Sequence[Mapping[str, Any]]


def at(steps: Steps, seconds: float, metric: str) -> float:
    """What served after so many seconds."""
    return float([step[metric] for step in steps if step["seconds"] <= seconds][-1])


def seconds_to(steps: Steps, level: float, metric: str) -> float:
    """Seconds until what serves is that good; infinite where it never is."""
    reached = (step["seconds"] for step in steps if step[metric] >= level)
    return float(next(reached, math.inf))


def recovery(row: Mapping[str, Any], metric: str) -> dict[str, float]:
    """Seconds of each way to GOAL of the best that any way reaches on that seed."""
    ways = row["ways"]
    best = max(step[metric] for steps in ways.values() for step in steps)
    return {way: seconds_to(steps, GOAL * best, metric) for way, steps in ways.items()}


def mean_interval(values: Sequence[float]) -> list[float]:
    """Mean over seeds with a 95 % bootstrap interval."""
    found = bootstrap_mean(torch.tensor(values, dtype=torch.float64), seed=0)
    return [round(value, 4) for value in (found.mean, found.low, found.high)]


def summary(rows: Sequence[Mapping[str, Any]], metric: str, seconds: float) -> dict[str, Any]:
    """What is said of one world: levels before, at and after the shift, and times to recover."""
    told: dict[str, Any] = {
        "detected": sum(bool(row["alarm"]) for row in rows),
        "false_alarms": sum(bool(look["alarm"]) for row in rows for look in row["quiet"]),
        "quiet_looks": sum(len(row["quiet"]) for row in rows),
        "before": mean_interval([row["before"][metric] for row in rows]),
        "at_shift": mean_interval([at(row["ways"]["individual"], 0.0, metric) for row in rows]),
    }
    for way in rows[0]["ways"]:
        ends = [at(row["ways"][way], seconds, metric) for row in rows]
        alone = [at(row["ways"]["individual"], seconds, metric) for row in rows]
        times = [recovery(row, metric)[way] for row in rows]
        told[way] = {
            "end": mean_interval(ends),
            "more_than_individual": mean_interval(np.subtract(ends, alone).tolist()),
            "seconds_to_recover": [None if math.isinf(t) else t for t in times],
        }
    return told


def curves(
    rows: Sequence[Mapping[str, Any]], metric: str, seconds: float
) -> dict[str, list[list[float]]]:
    """By way: [seconds, mean, low, high] on a grid, over seeds."""
    grid = np.linspace(0.0, seconds, 61).tolist()
    return {
        way: [[t, *mean_interval([at(row["ways"][way], t, metric) for row in rows])] for t in grid]
        for way in rows[0]["ways"]
    }
