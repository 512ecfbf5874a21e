"""How often looks at the data raise an alarm, without a shift and after a planted one.

    OMP_NUM_THREADS=1 python benchmarks/drift.py [--seeds 200] [--shifted 60] [--jobs 1]

Logs without a shift come from generated platforms: *calm*, *newcomers* (a tenth of the users
arrives in the last third) and *growing* (the log of calm, of which every user has only what comes
after a day of their own, so that users arrive all the time). A part of each log is new. After a
shift the days since it are new. Seeds begin at 1,000: the test was made by looking at others. The
counts go to ``results/drift.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from published import RESULTS, machine

from agenticrs.evolution.drift import drift
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.generated import DAY, START, GeneratorConfig, generate
from agenticrs.platform.data.store import DatasetStore

PLATFORM = GeneratorConfig(n_users=600, n_items=300, drift_users=0.0, cold_users=0.0)
SHARES, ALPHAS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30), (0.01, 0.05, 0.10)
"""Parts of a log that are new."""
SHIFTS: Mapping[str, Mapping[str, Any]] = {
    "one topic": {"drift_users": 0.9, "drift_topics": 1},
    "two topics": {"drift_users": 0.8, "drift_topics": 2},
    "each their own": {"drift_users": 0.9},
}
SINCE = (1, 3, 5, 7)
"""Days since the shift."""
FIRST = 1_000

Found = dict[tuple[str, str], float]
"""P values by world and how much is new."""


def log(config: GeneratorConfig) -> Dataset:
    """The log of a platform."""
    with TemporaryDirectory() as folder:
        return DatasetStore(Path(folder)).save("generated", generate(config).raw)


def part(dataset: Dataset, rows: Any) -> Dataset:
    """The dataset with some rows only."""
    return replace(dataset, interactions=dataset.interactions.take(rows))


def growing(dataset: Dataset, seed: int) -> Dataset:
    """Half of the users are there from the beginning; the others arrive at a steady rate."""
    rng, days = np.random.default_rng(seed), PLATFORM.days
    arrival = np.maximum(0, rng.uniform(-days, days, dataset.n_users)) * DAY + START
    rows = dataset.interactions
    return part(dataset, rows.timestamp >= arrival[rows.user])


def calm(seed: int, platform: GeneratorConfig = PLATFORM) -> Found:
    """Looks at logs without a shift."""
    steady = log(platform.model_copy(update={"seed": seed}))
    worlds = {
        "calm": steady,
        "newcomers": log(platform.model_copy(update={"seed": seed, "cold_users": 0.1})),
        "growing": growing(steady, seed),
    }
    return {
        (world, f"{share:.2f}"): drift(data, round(len(data.interactions) * (1 - share))).p_value
        for world, data in worlds.items()
        for share in SHARES
    }


def shifted(seed: int, platform: GeneratorConfig = PLATFORM) -> Found:
    """Looks at logs with a shift, days after it; what was before it is known."""
    found = {}
    for world, options in SHIFTS.items():
        config = platform.model_copy(update={"seed": seed, **options})
        dataset = log(config)
        day = (dataset.interactions.timestamp - START) // DAY
        known = int((day < config.shift_day).sum())
        for days in SINCE:
            until = part(dataset, day < config.shift_day + days)
            found[world, f"{days} days"] = drift(until, known).p_value
    return found


def counts(results: list[Found]) -> dict[str, Any]:
    """By world: how many looks, and how many alarms at each alpha, by how much is new."""
    told: dict[str, Any] = {}
    for world, new in results[0]:
        chances = [found[world, new] for found in results]
        alarms = {str(alpha): sum(p <= alpha for p in chances) for alpha in ALPHAS}
        told.setdefault(world, {})[new] = {"looks": len(chances), "alarms": alarms}
    return told


def main() -> None:
    """Look at every seed, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--shifted", type=int, default=60, help="seeds with a shift")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    told: dict[str, Any] = {"machine": machine(), "settings": PLATFORM.model_dump(mode="json")}
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, look, seeds in (
            ("shifted", shifted, options.shifted),
            ("calm", calm, options.seeds),
        ):
            found = pool.map(look, range(FIRST, FIRST + seeds))
            told[name] = counts(list(found))
            print(json.dumps(told[name]), flush=True)
    (RESULTS / "drift.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
