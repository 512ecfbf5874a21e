"""Who evolves next: by credit or in rotation, at equal budget, in a world that is made up.

    OMP_NUM_THREADS=1 python benchmarks/who_evolves.py [--seeds 300]

No recommender runs here. Ten simulated agents each have a search whose candidates rise towards a
limit of their own, a cost, and a true worth to the outer reward; what policies see of these is
noisy. All policies meet the same candidates at the same costs, and have the same seconds: what a
cycle overdraws is taken off the next. The turns are those of ``evolution/turns.py``. Three worlds
differ in how well credit tells what improving an agent is worth, a fourth has nothing to choose.
Measuring credit is free for one policy, and for another costs a tenth of every cycle.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from sidebyside import keep

from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.turns import Turn, order, rotation, standing
from agenticrs.rewards.significance import paired_bootstrap

World = Literal["credit tells", "credit tells roughly", "credit misleads", "all alike"]
WORLDS: tuple[World, ...] = (
    "credit tells",
    "credit tells roughly",
    "credit misleads",
    "all alike",
)
AGENTS, CYCLES = 10, 6
BUDGETS = {"tight": 100.0, "middle": 300.0, "ample": 1000.0}
"""Trial seconds a cycle; an even share of them is 2, 6, or 20 candidates of the median agent."""
_LONGEST = 1500
"""Candidates after which a search is over: what it leaves of a cycle goes to the next."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Nature:
    """What is true, by agent; candidates are (agents, longest)."""

    credit: Floats
    worth: Floats
    """Outer reward for each relative gain of the inner one."""
    quality: Floats
    """Of each candidate in turn, relative to the first champion's."""
    measured: Floats
    seconds: Floats
    seen_credit: Floats
    """(cycles, agents)."""

    @staticmethod
    def of(world: World, seed: int) -> Nature:
        """One draw of everything."""
        rng = np.random.default_rng([WORLDS.index(world), seed])
        alike = world == "all alike"

        def spread(median: float, sigma: float) -> Floats:
            return median * np.exp((0.0 if alike else sigma) * rng.standard_normal((AGENTS, 1)))

        credit = spread(1.0, 1.0)[:, 0]
        credit /= credit.sum()
        worth = credit
        if world == "credit tells roughly":
            worth = credit * np.exp(0.8 * rng.standard_normal(AGENTS))
        elif world == "credit misleads":
            worth = rng.permutation(credit)
        room, pace = spread(0.10, 0.7), spread(12.0, 0.7)
        cost = np.maximum(1.0, spread(5.0, 1.0))
        shape = (AGENTS, _LONGEST)
        left = np.exp(-np.arange(1, _LONGEST + 1) / pace)
        tail = np.maximum(left, 0.1)
        quality = room * (1 - left) + 0.4 * room * tail * rng.standard_normal(shape)
        return Nature(
            credit=credit,
            worth=worth,
            quality=quality,
            measured=quality + 0.005 * rng.standard_normal(shape),
            seconds=cost * np.exp(0.2 * rng.standard_normal(shape)),
            seen_credit=credit + 0.02 * rng.standard_normal((CYCLES, AGENTS)),
        )


@dataclass
class Search:
    """What was tried of one agent."""

    agent: int
    nature: Nature
    tried: list[Tried] = field(default_factory=list)
    spent: float = 0.0

    @property
    def over(self) -> bool:
        """Nothing more can be drawn."""
        return len(self.tried) == _LONGEST

    def step(self) -> float:
        """Try the next candidate; return what it took."""
        place = len(self.tried)
        reward = 1.0 + float(self.nature.measured[self.agent, place])
        self.tried.append(Tried(place, {}, "done", reward))
        took = float(self.nature.seconds[self.agent, place])
        self.spent += took
        return took

    def gained(self) -> float:
        """What the candidate that was measured as best is truly better; the champion may stay."""
        measured = self.nature.measured[self.agent, : len(self.tried)]
        if not len(measured) or measured.max() <= 0:
            return 0.0
        return float(self.nature.quality[self.agent, measured.argmax()])


Policy = Callable[[Sequence[Search], Floats, int], list[Turn]]


def in_rotation(searches: Sequence[Search], credit: Floats, cycle: int) -> list[Turn]:
    """Even shares, whoever begins."""
    return rotation([str(one.agent) for one in searches], cycle)


def by_credit(searches: Sequence[Search], credit: Floats, cycle: int) -> list[Turn]:
    """Credit, expected gain and cost, as in a cycle."""
    return order(
        [
            standing(
                str(one.agent),
                one.tried,
                credit=float(credit[one.agent]),
                seconds=one.spent / len(one.tried) if one.tried else None,
            )
            for one in searches
        ]
    )


def without_credit(searches: Sequence[Search], credit: Floats, cycle: int) -> list[Turn]:
    """Expected gain and cost alone."""
    return by_credit(searches, np.ones_like(credit), cycle)


POLICIES: dict[str, tuple[Policy, float]] = {
    "rotation": (in_rotation, 0.0),
    "credit": (by_credit, 0.0),
    "credit, paid for": (by_credit, 0.1),
    "gain and cost alone": (without_credit, 0.0),
}
"""Each with the share of a cycle's seconds that measuring the credit takes."""


def evolve(nature: Nature, policy: Policy, budget: float, price: float) -> tuple[float, float]:
    """Outer reward gained after all cycles, as a share of all credit, and seconds spent."""
    searches = [Search(agent, nature) for agent in range(AGENTS)]
    spent = 0.0
    for cycle in range(CYCLES):
        until, begun = budget * (cycle + 1), spent + price * budget
        spent = begun
        for turn in policy(searches, nature.seen_credit[cycle], cycle):
            search, own = searches[int(turn.agent)], 0.0
            share = turn.share * (until - begun)
            while own < share and spent < until and not search.over:
                took = search.step()
                own, spent = own + took, spent + took
    gained = sum(nature.worth[one.agent] * one.gained() for one in searches)
    return float(gained), spent


def compare(world: World, name: str, seeds: int) -> dict[str, Any]:
    """All policies in as many draws of a world, and each beside rotation."""
    gained: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    spent: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    for seed in range(seeds):
        nature = Nature.of(world, seed)
        for policy, (function, price) in POLICIES.items():
            gain, seconds = evolve(nature, function, BUDGETS[name], price)
            gained[policy].append(gain)
            spent[policy].append(seconds)
    fixed = torch.tensor(gained["rotation"], dtype=torch.float64)
    row: dict[str, Any] = {
        "world": world,
        "budget": name,
        "seeds": seeds,
        "gained": {policy: round(float(np.mean(values)), 5) for policy, values in gained.items()},
        "seconds": {policy: round(float(np.mean(values)), 1) for policy, values in spent.items()},
    }
    for policy in list(POLICIES)[1:]:
        own = torch.tensor(gained[policy], dtype=torch.float64)
        found = paired_bootstrap(own, fixed, seed=0)
        unit = float(fixed.mean())
        row[policy] = {
            "more_than_rotation": round(found.mean / unit, 4),
            "interval": [round(found.low / unit, 4), round(found.high / unit, 4)],
            "p_value": round(found.p_value, 4),
            "wins": round(float((own > fixed).double().mean()), 3),
        }
    return row


def main() -> None:
    """Every world at every budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for world in WORLDS:
        for budget in BUDGETS:
            rows.append(compare(world, budget, arguments.seeds))
            print(rows[-1], flush=True)
            keep("who_evolves", rows)


if __name__ == "__main__":
    main()
