"""Whether a budget pays for a comparison: asked before a cycle begins, and when turns are given.

A comparison is a full trial, and the trainings with other seeds that it needs to beat a champion.
What a trial costs is known from candidates that were fully trained on the same dataset. Where
nothing is known, nothing is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agenticrs.agents import catalogue
from agenticrs.evolution import stages
from agenticrs.evolution.candidates.rungs import draws_at_random
from agenticrs.evolution.candidates.seeds import needed
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.request import EvolveRequest
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry import trials
from agenticrs.registry.trials import Cost

Turns = dict[str, dict[str, Any]]
_BOTH_RUNGS = 1.5
"""Time limits that both rungs of a candidate take together at most: training stops before."""
_ENOUGH = 1 + 1e-9
"""How many times its turn a candidate may cost: shares of a budget are rounded."""


def refuse_senseless(budget: Mapping[str, float | None]) -> None:
    """Refuse numbers with which no cycle can be opened; raises EvolutionError, which says which."""
    for name, value in budget.items():
        least = 1 if name == "trials" else 0
        if value is None or (math.isfinite(value) and value >= least and value > 0):
            continue
        raise EvolutionError(
            f"{name} is {value:g}: a cycle needs "
            + ("at least one candidate for each agent" if least else "a finite number above 0"),
            hint=f"raise {_place(name)}",
        )


def refuse_too_small(cycle: Cycle, planned: Sequence[str]) -> None:
    """Refuse a budget that does not pay for one comparison of the cheapest planned agent.

    ``planned`` are agents, or the surface for compositions. Raises EvolutionError, which says
    which cap it is and what it should be; never because of an agent whose cost is not known.
    """
    request, limit = cycle.request, cycle.services.settings.trial_seconds
    known = costs(cycle, planned)
    needs = {
        "seconds": (request.seconds, {n: cost.seconds for n, cost in known.items()}),
        "gpu_seconds": (request.gpu_seconds, {n: cost.gpu_seconds for n, cost in known.items()}),
        "trial_seconds": (limit, {n: _time_limit(n, cost) for n, cost in known.items()}),
    }
    for name, (given, wanted) in needs.items():
        sums = {agent: need for agent, need in wanted.items() if need is not None}
        if given is None or not sums or len(sums) < len(wanted):
            continue
        cheapest = min(sums, key=lambda agent: sums[agent])
        trainings = 1 if name == "trial_seconds" else _trainings(cycle, planned)[cheapest]
        if given < sums[cheapest]:
            raise EvolutionError(
                f"{name} is {given:g}, too little for one comparison: "
                + (f"{trainings} full trials" if trainings > 1 else "a full trial")
                + f" of {cheapest}, the cheapest that is planned, needs {sums[cheapest]:.3g}",
                hint=f"raise {_place(name)} to {_rounded_up(sums[cheapest])} or more"
                + ("" if cheapest == cycle.surface else ", or plan agents that are cheaper"),
            )


def afforded(
    turns: Turns, known: Mapping[str, Cost], request: EvolveRequest
) -> tuple[Turns, dict[str, str]]:
    """The turns that pay for a comparison, with ``gpu_seconds`` of their own; who is left out.

    ``known`` are the costs of comparisons.

    What an agent leaves that cannot pay goes to the others, in proportion: first of those for whom
    the whole budget is too little, then of those who lack most. So at least one remains where the
    budget pays for one. Reasons are sentences.
    """
    kept, left_out = dict(turns), dict[str, str]()
    whole = {"seconds": request.seconds, "gpu_seconds": request.gpu_seconds}
    while kept:
        scale = 1.0
        if left_out:
            scale = request.seconds / math.fsum(turn["seconds"] for turn in kept.values())
        given = {name: _scaled(turn, scale, request) for name, turn in kept.items()}
        lacks = {name: _lack(known[name], turn) for name, turn in given.items()}
        lacking = {name: lack for name, lack in lacks.items() if lack > _ENOUGH}
        if not lacking:
            return given, left_out
        worst = max(lacking, key=lambda name: (_lack(known[name], whole) > _ENOUGH, lacking[name]))
        left_out[worst] = _reason(known[worst], given[worst])
        del kept[worst]
    return {}, left_out


def costs(cycle: Cycle, names: Sequence[str]) -> dict[str, Cost]:
    """What a comparison costs, by what candidates took so far on the cycle's dataset, by name.

    ``least`` stays the least seconds of one trial.
    """
    with session_scope(cycle.services.engine) as session:
        found = {name: trials.cost(session, name, cycle.dataset_name) for name in names}
    times = _trainings(cycle, names)
    return {
        name: replace(
            one,
            seconds=one.seconds and times[name] * one.seconds,
            gpu_seconds=one.gpu_seconds and times[name] * one.gpu_seconds,
        )
        for name, one in found.items()
    }


def _trainings(cycle: Cycle, names: Sequence[str]) -> dict[str, int]:
    """Full trials that a comparison of each takes: first versions and compositions need one."""
    champions = stages.champion_versions(cycle) if names else {}
    return {name: needed(cycle, name) if name in champions else 1 for name in names}


def _time_limit(name: str, cost: Cost) -> float | None:
    """The least time limit under which the quickest candidate can have been trained."""
    implementation = catalogue.load_agents().get(name)
    both = implementation is not None and draws_at_random(implementation)
    return cost.least if cost.least is None or not both else cost.least / _BOTH_RUNGS


def _scaled(turn: Mapping[str, Any], scale: float, request: EvolveRequest) -> dict[str, Any]:
    seconds, gpu = scale * turn["seconds"], request.gpu_seconds
    gpu_seconds = None if gpu is None else gpu * seconds / request.seconds
    return {**turn, "seconds": seconds, "gpu_seconds": gpu_seconds}


def _lack(cost: Cost, given: Mapping[str, float | None]) -> float:
    """How many times what is given a full trial costs; 0 where that is not known."""
    pairs = ((cost.seconds, given["seconds"]), (cost.gpu_seconds, given["gpu_seconds"]))
    return max(0.0 if need is None or have is None else need / have for need, have in pairs)


def _reason(cost: Cost, given: Mapping[str, Any]) -> str:
    if (cost.seconds or 0.0) > given["seconds"]:
        return f"a comparison takes {cost.seconds:.3g} s, its turn has {given['seconds']:.3g} s"
    return (
        f"a comparison takes {cost.gpu_seconds:.3g} GPU-seconds, "
        f"its turn has {given['gpu_seconds']:.3g}"
    )


def _place(name: str) -> str:
    option = "" if name == "trial_seconds" else f" or --{name.replace('_', '-')}"
    return f"AGENTICRS_{name.upper()}{option}"


def _rounded_up(number: float) -> str:
    """Three digits that are no less than the number."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 2)
    return f"{math.ceil(number / unit) * unit:.6g}"
