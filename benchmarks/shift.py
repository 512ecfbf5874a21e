"""The alternating cycle beside individual evolution alone, where tastes shift on a known day.

    OMP_NUM_THREADS=1 python benchmarks/shift.py [--seeds 5] [--looks 30] [--jobs 1]

A generated platform evolves until day 24; days without a shift come in and are looked at. Then most
users turn to the same topics, and two more days come in. From a copy of the same registry each way
goes on: *alternating* as the controller does it (the graph first where drift is detected),
*individual* without compositions, and *refreshed* like alternating, but where drift is detected
every agent is first trained anew once. A script approves every proposal at once. After each
cycle what serves is measured on the next two days. Seconds are those of the processor, of all jobs:
trainings, compositions and comparisons; each way goes on until it has spent the same. How
often looks at the data raise an alarm is counted on more seeds, without any cycle. The result goes
to ``results/shift.json``, its curves to ``docs/pictures/shift.svg``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from published import RESULTS, machine
from shift_figures import curves, summary
from shift_picture import draw
from shift_place import AGENTS, COVERAGE, DATA, Place

from agenticrs.evolution.drift import drift
from agenticrs.evolution.request import CycleKind
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.generated import GeneratedPlatform, GeneratorConfig, generate
from agenticrs.platform.data.ground_truth import DAY, START, GroundTruth
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore

KNOWN, QUIET, SHIFT, NOW, DAYS = 22, (24,), 24, 26, 28
"""Days that the first cycles know, arrivals without a shift, its day, the arrival with it, all."""
PLATFORM = GeneratorConfig(
    n_users=600, n_items=300, days=DAYS, events_per_user=60.0, cold_users=0.0, drift_day=SHIFT
)
"""Nobody arrives late: newcomers in the last third would be a shift of their own."""
WORLDS: Mapping[str, Mapping[str, Any]] = {
    "one topic": {"drift_users": 0.9, "drift_topics": 1},
    "two topics": {"drift_users": 0.8, "drift_topics": 2},
}
UNTOLD: Mapping[str, Mapping[str, Any]] = {
    "no shift": {"drift_users": 0.0},
    "each their own": {"drift_users": 0.9},
}
"""Worlds that are only looked at."""
SPLIT = "temporal:valid=0.03,test=0.01"
"""The validation rows come after the shift, and so do some that are learnt from."""
TRIALS, SECONDS = 3, 5.0
"""Candidates an agent and cycle, and processor seconds a way."""
METRICS = ("ndcg", "value", "share")
RESULT = RESULTS / "shift.json"
PICTURES = RESULTS.parents[1] / "docs" / "pictures"


@dataclass(frozen=True)
class Step:
    """What serves after a cycle, and the processor seconds spent since the shift was seen.

    ``ndcg`` and ``value`` are those of the next two days' positives; ``share`` is the expected
    clicks of the ten shown as a part of those of the best ten. ``serves`` names the graph's nodes.
    """

    seconds: float
    cycle: str
    ndcg: float
    value: float
    share: float
    serves: tuple[str, ...]


@dataclass(frozen=True)
class Future:
    """The days after a snapshot, which no cycle has seen."""

    fold: Fold
    truth: GroundTruth
    day: int

    @staticmethod
    def of(platform: GeneratedPlatform, day: int, end: int, folder: Path) -> Future:
        """What the days from ``day`` up to ``end`` hold, with all that came before as history."""
        whole = DatasetStore(folder).save(DATA, platform.between(0, end))
        late = float(np.mean(whole.interactions.timestamp >= START + day * DAY))
        fold = make_fold(whole, f"temporal:valid=0.01,test={late:.9f}", "test")
        return Future(fold, platform.truth, day)

    def measure(self, place: Place, cycle: str, seconds: float = 0.0) -> Step:
        """How good it is what serves."""
        found = place.answer(self.fold)
        serves = tuple(f"{node.agent} {node.version}" for node in place.serving().nodes)
        totals = found.totals
        share = self.share(found.users, found.ranked[:, :10])
        return Step(seconds, cycle, totals["ndcg@10"], totals["value@10"], share, serves)

    def share(self, users: Any, shown: Any) -> float:
        """Expected clicks on the ten shown, as a part of those on the best ten unseen."""
        dataset = self.fold.dataset
        rows = dataset.interactions.take(dataset.is_positive(dataset.interactions))
        previous = np.full(dataset.n_users, -1, dtype=np.int64)
        previous[rows.user] = rows.item  # rows are in the order of time: the last one stays
        seen = np.zeros((dataset.n_users, dataset.n_items), dtype=np.bool_)
        seen[rows.user, rows.item] = True
        items = np.arange(dataset.n_items)[None]
        chance = self.truth.click_probability(
            users[:, None], items, self.day, previous[users][:, None]
        )
        chance = np.where(seen[users] | (self.truth.released > self.day), 0.0, chance)
        clicks = np.take_along_axis(chance, np.maximum(shown, 0), 1)[shown >= 0].sum()
        best = np.sort(chance, 1)[:, -10:].sum()
        return float(clicks / best)


Turn = list[tuple[CycleKind, int | None]]
Way = Callable[[bool], Turn]
"""Whether there is an alarm -> the cycles of the next turn, each with its candidates an agent."""


def alternating(alarm: bool) -> Turn:
    """As the controller does it: by habit agents, then the graph; the graph first on alarm."""
    turn: Turn = [("individual", None), ("compositional", None)]
    return turn[::-1] if alarm else turn


def individual(alarm: bool) -> Turn:
    """The graph stands still."""
    return [("individual", None)]


def refreshed(alarm: bool) -> Turn:
    """As alternating; on alarm each agent's best settings are first trained on the new data."""
    return [*([("individual", 1)] if alarm else []), *alternating(alarm)]


WAYS: Mapping[str, Way] = {
    "alternating": alternating,
    "individual": individual,
    "refreshed": refreshed,
}


def follow(way: Way, place: Place, future: Future, seconds: float) -> list[Step]:
    """Cycle after cycle until the seconds are spent; the first step is what served before."""
    steps = [future.measure(place, "shift")]
    while steps[-1].seconds < seconds:
        for kind, trials in way(bool(place.alarm())):
            place.cycle(kind, trials)
            name = "refresh" if trials == 1 else kind
            steps.append(future.measure(place, name, round(sum(place.spent), 3)))
            if steps[-1].seconds >= seconds:
                break
    return steps


def one_seed(
    world: str, seed: int, config: GeneratorConfig = PLATFORM, seconds: float = SECONDS
) -> dict[str, Any]:
    """Evolve up to the shift once, then every way from there."""
    torch.set_num_threads(1)
    platform = generate(config.model_copy(update={**WORLDS[world], "seed": seed}))
    # The same log up to the shift, which never comes.
    calm = generate(config.model_copy(update={"drift_users": 0.0, "seed": seed}))
    quiet = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        place = Place.at(folder / "before", seed, TRIALS, SPLIT)
        store = place.services.datasets
        store.save(DATA, platform.between(0, KNOWN))
        place.cycle("individual", of=AGENTS)
        for begin, end in ((0, KNOWN), *pairwise((KNOWN, *QUIET))):
            store.save(DATA, platform.between(begin, end))
            if begin:
                quiet.append({"day": end, "alarm": place.alarm()})
            for kind in ("individual", "compositional"):
                place.cycle(kind)
        before = Future.of(calm, SHIFT, NOW, folder / "calm").measure(place, "before")
        store.save(DATA, platform.between(SHIFT, NOW))
        alarm, future = place.alarm(), Future.of(platform, NOW, DAYS, folder / "future")
        ways = {}
        for way, function in WAYS.items():
            steps = follow(function, place.twin(folder / way), future, seconds)
            ways[way] = [asdict(step) for step in steps]
            print(f"{world}, seed {seed}, {way}: {[round(s.ndcg, 3) for s in steps]}", flush=True)
    return {
        "world": world,
        "seed": seed,
        "quiet": quiet,
        "before": asdict(before),
        "alarm": alarm,
        "ways": ways,
    }


def looks(seed: int, config: GeneratorConfig = PLATFORM) -> dict[str, dict[int, bool]]:
    """By world and day: whether a look at the data raises an alarm; KNOWN days are the window."""
    found = {}
    for world, options in {**UNTOLD, **WORLDS}.items():
        platform = generate(config.model_copy(update={**options, "seed": seed}))
        with TemporaryDirectory() as folder:
            store = DatasetStore(Path(folder))
            known = len(store.save(DATA, platform.between(0, KNOWN)).interactions)
            days = {}
            for end in range(KNOWN + 2, DAYS + 1, 2):
                dataset = store.save(DATA, platform.between(end - 2, end))
                days[end] = drift(dataset, known).detected(0.05)
        found[world] = days
    return found


def write(rows: Sequence[Mapping[str, Any]], alarms: Mapping[str, Any]) -> None:
    """Keep what is known so far, and draw it."""
    rows = sorted(rows, key=lambda row: (list(WORLDS).index(row["world"]), row["seed"]))
    by_world = {name: [row for row in rows if row["world"] == name] for name in WORLDS}
    told = {
        "machine": machine(),
        "settings": _settings(),
        "alarms": alarms,
        "summary": {
            world: {metric: summary(own, metric, SECONDS) for metric in METRICS}
            for world, own in by_world.items()
            if own
        },
        "rows": rows,
    }
    RESULT.write_text(json.dumps(told, indent=1) + "\n")
    panels = {
        f"{world}, {len(own)} seeds": (
            curves(own, "share", SECONDS),
            float(np.mean([row["before"]["share"] for row in own])),
        )
        for world, own in by_world.items()
        if own
    }
    if panels:
        (PICTURES / "shift.svg").write_text(draw(panels))


def _settings() -> dict[str, Any]:
    days = {"known": KNOWN, "quiet": list(QUIET), "now": NOW}
    mine = {"split": SPLIT, "trials": TRIALS, "seconds": SECONDS, "coverage_floor": COVERAGE}
    return {**PLATFORM.model_dump(exclude={"seed"}), **days, **mine}


def main() -> None:
    """Look, and run every seed that an earlier run with the same settings has not left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--looks", type=int, default=30, help="seeds that are only looked at")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at the same time")
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    asked = parser.parse_args()
    earlier = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    same = earlier.get("settings") == _settings()
    rows, alarms = (earlier["rows"], earlier["alarms"]) if same else ([], {"seeds": 0})
    known = {(row["world"], row["seed"]) for row in rows}
    wanted = [(world, seed) for world in asked.worlds for seed in range(asked.seeds)]
    with ProcessPoolExecutor(asked.jobs) as pool:
        jobs = [pool.submit(one_seed, *pair) for pair in wanted if pair not in known]
        for job in as_completed(jobs):
            rows.append(job.result())
            write(rows, alarms)
        if asked.looks > alarms["seeds"]:
            seen = list(pool.map(looks, range(asked.looks)))
            counted = {
                world: {str(day): sum(one[world][day] for one in seen) for day in days}
                for world, days in seen[0].items()
            }
            alarms = {"seeds": asked.looks, "by_day": counted}
    write(rows, alarms)


if __name__ == "__main__":
    main()
