"""Canaries on simulated traffic with planted faults: what is caught, when, and what gets through.

    OMP_NUM_THREADS=1 python benchmarks/canary.py [--runs 100]

No recommender runs here. Every step brings 10,000 new users; each has a taste of its own, which
spreads watch time over two orders of magnitude and is partly known from before, a chance to leave,
and a latency. The level moves with the day of the week. Users are assigned by their hash, and what
a version changes is planted: for those who are shown it. The ladder is the default one, with
guardrails on leaving and latency; it knows nothing of the truth. Some versions are run again under
the rules that production has by default, where latency may rise by half. ``caught in time`` means
rolled back before 10 % of the users were shown it. Intervals are Wilson's, at 95 %.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sidebyside import keep

from agenticrs.agents.experimentation.canary import Canary, Ladder, step
from agenticrs.agents.experimentation.observation import Observation
from agenticrs.evolution.canaries.rules import ladder_of
from agenticrs.platform.settings import Settings
from agenticrs.rewards.experiments.assignment import assign
from agenticrs.rewards.experiments.cuped import cuped
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.rewards.experiments.sequential import Sample

USERS = 10_000
LADDER = Ladder(
    guardrails=(
        Guardrail("leaving", margin=0.05, worst=0.15),
        Guardrail("latency", margin=0.05, worst=0.15),
    )
)
PRODUCTION = ladder_of(Settings())
_WEEK = (1.0, 0.95, 0.95, 0.97, 1.05, 1.2, 1.15)


@dataclass(frozen=True)
class Change:
    """What a version does to those who are shown it, relative to what serves."""

    watch_time: float = 0.0
    leaving: float = 0.0
    latency: float = 0.0
    lost: float = 0.0
    """Share of its users whose log is lost."""


SCENARIOS: dict[str, Change] = {
    "10 % less watch time": Change(watch_time=-0.10),
    "5 % less watch time": Change(watch_time=-0.05),
    "30 % more leaving, 5 % more watch time": Change(watch_time=0.05, leaving=0.30),
    "20 % more leaving, 5 % more watch time": Change(watch_time=0.05, leaving=0.20),
    "20 % slower, 5 % more watch time": Change(watch_time=0.05, latency=0.20),
    "loses 20 % of its users' log": Change(lost=0.20),
    "3 times as slow, 5 % more watch time": Change(watch_time=0.05, latency=2.0),
    "no change": Change(),
    "3 % more watch time": Change(watch_time=0.03),
    "5 % more watch time": Change(watch_time=0.05),
}


def observe(
    canary: Canary, change: Change, salt: str, rng: np.random.Generator, *, adjust: bool = True
) -> Observation:
    """One step of traffic, as the log shows it; ``adjust`` takes out what the past explains."""
    ids = canary.step * USERS + np.arange(USERS)
    shown = assign(ids, salt, (canary.share, 1 - canary.share)).numpy() == 0
    taste = np.exp(0.8 * rng.standard_normal(USERS) - 0.32)
    before = taste * rng.standard_exponential(USERS)
    day = _WEEK[canary.step % 7]
    watched = taste * day * (1 + change.watch_time * shown) * rng.gamma(2.0, 0.5, USERS)
    stays = taste / (0.5 + taste)
    left = rng.random(USERS) < (0.55 - 0.5 * stays) / day * (1 + change.leaving * shown)
    slow = 120 * np.exp(0.4 * rng.standard_normal(USERS)) * (1 + change.latency * shown)
    logged = ~shown | (rng.random(USERS) >= change.lost)
    values = {
        name: torch.from_numpy(found[logged].astype(np.float64))
        for name, found in (("reward", watched), ("leaving", left), ("latency", slow))
    }
    if adjust:
        past = torch.from_numpy(np.log(before[logged]))
        past = torch.stack([past, past.exp()], 1)
        values = {name: cuped(found, past).reward for name, found in values.items()}
    treated = torch.from_numpy(shown[logged])
    return Observation(
        treatment={name: Sample.of(found[treated]) for name, found in values.items()},
        control={name: Sample.of(found[~treated]) for name, found in values.items()},
        exposed=(int(treated.sum()), int((~treated).sum())),
    )


def run(change: Change, seed: int, *, adjust: bool = True, ladder: Ladder = LADDER) -> Canary:
    """A canary from its first step to its end."""
    rng = np.random.default_rng(seed)
    canary = Canary(ladder=ladder)
    while canary.status == "running":
        canary = step(canary, observe(canary, change, f"canary {seed}", rng, adjust=adjust))
    return canary


def in_time(canary: Canary) -> bool:
    """Rolled back before a tenth of the users were shown it."""
    return canary.status == "rolled back" and canary.ladder.stages[canary.stage] < 0.10


def measure(
    name: str, runs: int, *, adjust: bool = True, ladder: Ladder = LADDER
) -> dict[str, Any]:
    """Ends of many canaries of one version."""
    ends = [run(SCENARIOS[name], seed, adjust=adjust, ladder=ladder) for seed in range(runs)]
    steps = sorted(end.step for end in ends)
    return {
        "version": name,
        "cuped": adjust,
        "rules": "production" if ladder is PRODUCTION else "narrow",
        "runs": runs,
        "caught in time": share(sum(in_time(end) for end in ends), runs),
        **{
            status: share(sum(end.status == status for end in ends), runs)
            for status in ("rolled back", "promoted", "paused")
        },
        "median steps": statistics.median(steps),
        "most steps": steps[-1],
        "ended at": dict(Counter(f"{end.ladder.stages[end.stage]:.0%}" for end in ends)),
        "why": dict(Counter(_cause(end) for end in ends)),
    }


def share(count: int, n: int) -> dict[str, Any]:
    """A count with Wilson's interval of its share."""
    z, p = 1.96, count / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return {
        "count": count,
        "low": max(0.0, round(middle - reach, 3)),
        "high": min(1.0, round(middle + reach, 3)),
    }


def _cause(end: Canary) -> str:
    if end.status == "promoted":
        return "safe at every stage"
    return end.reason.partition(":")[0].partition(" after ")[0]


def main() -> None:
    """Measure all versions, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    plain = ("10 % less watch time", "5 % more watch time")
    spoils = ("30 % more leaving, 5 % more watch time", "3 times as slow, 5 % more watch time")
    wanted = [(name, True, LADDER) for name in SCENARIOS if SCENARIOS[name].latency < 1]
    wanted += [(name, False, LADDER) for name in plain]
    wanted += [(name, True, PRODUCTION) for name in (*plain, *spoils)]
    for name, adjust, ladder in wanted:
        rows.append(measure(name, arguments.runs, adjust=adjust, ladder=ladder))
        print(rows[-1], flush=True)
        keep("canary", rows)


if __name__ == "__main__":
    main()
