"""How often TPE's best of 50 is within reach in a third of its seconds, for whoever knew all.

    OMP_NUM_THREADS=1 python benchmarks/evolution_reach.py [--data ml-1m]

TPE's best is the luckiest of its noisy rewards. So the settings that *tpe* tried in all seeds of
``results/evolution-later.json`` are drawn again (they follow from seeds and rewards), the
``SHORTLIST`` that are best for all held-out users are trained ``REPEATS`` times with other seeds,
and the best of them on average ``MORE`` times. Somebody who knew these settings and did nothing
but train them anew would reach a seed's goal with probability 1 - (1 - p)^n: p is the share of the
trainings whose reward reaches it, n how many a third of that seed's seconds pays for. The settings
are chosen with the answer known, as no search could. Rows go to ``results/evolution-reach.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import evolution
import numpy as np
import torch
from evolution import Step, Trials
from evolution_cold import drawn_again
from evolution_report import GOAL, best_reward
from published import RESULTS

from agenticrs.agents.catalogue import load_agents
from agenticrs.platform.data.splits import search_users

KNOWN, RESULT = RESULTS / "evolution-later.json", RESULTS / "evolution-reach.json"
SHORTLIST, REPEATS, MORE = 3, 10, 20
SEEDS = (70_000, 80_000)
"""From which the repetitions of the shortlist, and of its best, take theirs."""


def reach(data: str, seeds: Mapping[str, Any]) -> dict[str, Any]:
    """The best settings of a dataset, what they bring, and how likely that reaches each goal."""
    space = evolution.narrowed(load_agents()[evolution.AGENT].spec.space.expand())
    rows = []
    for seed, row in seeds.items():
        begin = 1000 * int(seed)
        rows += drawn_again(row["ways"]["tpe"], lambda m: evolution.alone(space, begin, m))  # noqa: B023
    (fold,) = evolution.folds(data)
    steering = float(search_users(fold.users).mean())

    def of_all(step: Any) -> float:
        """Of all held-out users: search users are a third of them."""
        return float(steering * step["reward"] + (1 - steering) * step["confirm"])

    trials = Trials(fold)
    trials({}, 0)  # what happens once in a process is no training's cost
    rows = [row for row in rows if row["reward"] is not None]
    shortlist = sorted(rows, key=of_all, reverse=True)[:SHORTLIST]
    found: list[tuple[float, Any, list[Step]]] = []
    for row in shortlist:
        steps = [trials(row["values"], SEEDS[0] + n) for n in range(REPEATS)]
        found.append((float(np.mean([of_all(vars(s)) for s in steps])), row["values"], steps))
    _, values, steps = max(found, key=lambda one: one[0])
    steps += [trials(values, SEEDS[1] + n) for n in range(MORE)]
    rewards = np.array([step.reward for step in steps])
    seconds = float(np.mean([step.seconds for step in steps]))
    goals = []
    for row in seeds.values():
        tpe = row["ways"]["tpe"]
        goal = best_reward(tpe)
        share = float((rewards >= goal).mean())
        trainings = GOAL * tpe[-1]["seconds"] / seconds
        goals.append({"goal": goal, "share": share, "chance": 1 - (1 - share) ** trainings})
    return {"values": values, "rewards": rewards.tolist(), "seconds": seconds, "goals": goals}


def main() -> None:
    """Ask it of each dataset and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=",".join(evolution.DATA))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(KNOWN.read_text())["data"]
    for data in asked.data.split(","):
        written = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        written[data] = reach(data, known[data])
        RESULT.write_text(json.dumps(written, indent=1) + "\n")
        chances = [goal["chance"] for goal in written[data]["goals"]]
        print(data, f"{sum(chances):.1f} of {len(chances)}", np.round(chances, 2), flush=True)


if __name__ == "__main__":
    main()
