"""The credit of each agent that serves: its part in the composition's outer reward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from agenticrs.evolution.cycle import Cycle, Result
from agenticrs.evolution.evidence import Estimate
from agenticrs.evolution.outer_reward.coalitions import at_work, measure_coalitions
from agenticrs.evolution.stages import OUTER
from agenticrs.platform.data.splits import search_users
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import AgentSpec
from agenticrs.rewards.credit import (
    Coalition,
    Credit,
    Order,
    antithetic_orders,
    exact_shapley,
    heads,
    leave_one_out,
    sampled_shapley,
    subsets,
)
from agenticrs.rewards.significance import bootstrap_mean

MOST = 64
"""Coalitions that are measured at most: all there are of six agents."""
_COUNTED = 8
"""Up to so many agents all coalitions are listed, to see how many differ."""
_FEWEST_PAIRS, _MOST_PAIRS = 2, 128


@dataclass(frozen=True)
class CreditPlan:
    """Which coalitions are needed; ``orders`` are those that count, empty: all of them."""

    members: tuple[str, ...]
    orders: tuple[Order, ...]
    coalitions: frozenset[Coalition]


def plan_of(graph: Graph, specs: Mapping[str, AgentSpec], *, most: int, seed: int) -> CreditPlan:
    """Everything where that takes at most ``most`` measurements, else as many orders as it does.

    At least two pairs of orders, so that there is an interval, whatever they take.
    """
    members = tuple(sorted(graph.agents()))
    everybody = frozenset(members)
    single = {everybody, *(everybody - {one} for one in members)}

    @cache
    def working(coalition: Coalition) -> Coalition:
        return at_work(graph, coalition, specs)

    def cost(coalitions: set[Coalition]) -> int:
        return len({working(one) for one in coalitions})

    if len(members) <= _COUNTED and cost(every := set(subsets(members))) <= most:
        return CreditPlan(members, (), frozenset(every))
    needed, orders = single, list[Order]()
    drawn = antithetic_orders(members, _MOST_PAIRS, seed=seed)
    for place in range(0, len(drawn), 2):
        pair = drawn[place : place + 2]
        more = needed | {head for order in pair for head in heads(order)}
        if len(orders) >= 2 * _FEWEST_PAIRS and cost(more) > most:
            break
        needed, orders = more, orders + pair
    return CreditPlan(members, tuple(orders), frozenset(needed))


def credit_of(cycle: Cycle, graph: Graph, *, most: int = MOST) -> Result:
    """Leave-one-out and Shapley value of every agent of ``graph``, for a row of the cycle.

    Measured on the search users alone: credit steers, and the others decide. ``whole`` and
    ``nobody`` are the rewards between which the Shapley values divide. Each credit has the interval
    of its mean over users; ``sampling`` is that of a Shapley value over the orders that were not
    drawn, None when all count (``exact``). ``seconds`` is what the ``measured`` jobs took. Raises
    EvolutionError when a coalition cannot be measured.
    """
    seed = cycle.request.seed
    plan = plan_of(graph, cycle.all_specs, most=most, seed=seed)
    measured = measure_coalitions(cycle, graph, plan.coalitions)
    steering = search_users(measured.users)
    rows = steering if steering.any() else ~steering
    rewards = {one: torch.from_numpy(values[rows]) for one, values in measured.rewards.items()}

    def value(coalition: Coalition) -> Tensor:
        return rewards[coalition]

    alone = leave_one_out(plan.members, value)
    shared = (
        sampled_shapley(plan.orders, value) if plan.orders else exact_shapley(plan.members, value)
    )
    found = {
        "metric": OUTER,
        "users": int(rows.sum()),
        "whole": float(value(frozenset(plan.members)).mean()),
        "nobody": float(value(frozenset()).mean()),
        "exact": not plan.orders,
        "orders": len(plan.orders),
        "measured": measured.jobs,
        "seconds": round(measured.seconds, 2),
        "agents": {
            name: {
                "leave_one_out": _over_users(alone[name], seed),
                "shapley": _over_users(shared[name], seed),
                "sampling": [shared[name].low, shared[name].high] if plan.orders else None,
            }
            for name in plan.members
        },
    }
    best = max(plan.members, key=lambda name: shared[name].mean)
    cycle.say(
        f"credit of {len(plan.members)} agents: most to {best}, {shared[best].mean:+.4f} of "
        f"{found['whole']:.4f} {OUTER}"
    )
    return found


def shapley_means(credit: Mapping[str, Any]) -> dict[str, float]:
    """Agent -> Shapley value, out of what ``credit_of`` found."""
    return {name: one["shapley"]["mean"] for name, one in credit["agents"].items()}


def _over_users(credit: Credit, seed: int) -> dict[str, Any]:
    estimate = Estimate.of(bootstrap_mean(credit.per_user, seed=seed))
    return estimate.model_dump(mode="json", exclude={"p_value"})
