from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agenticrs.agents import catalogue
from agenticrs.evolution import blueprint, stages
from agenticrs.evolution.blueprint import Blueprint
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.outer_reward.arena import Arena, Entry
from agenticrs.evolution.outer_reward.coalitions import at_work, measure_coalitions
from agenticrs.evolution.outer_reward.credit import CreditPlan, credit_of, plan_of, shapley_means
from agenticrs.evolution.request import EvolveRequest
from agenticrs.platform.data.splits import search_users
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.job import Failed, Succeeded
from agenticrs.registry.graph import Graph
from agenticrs.rewards.credit import heads

if TYPE_CHECKING:
    from tests.evolution.conftest import World

SPECS = {name: kind.spec for name, kind in catalogue.load_agents().items()}


def graph_of(*retrievers: str, reranker: str | None = None) -> Graph:
    routed = "popularity" not in retrievers
    plan = Blueprint(
        retrievers=retrievers,
        fusion="rrf",
        reranker=reranker,
        router="history_router" if routed else None,
        paths={"cold": "popularity"} if routed else {},
    )
    return blueprint.graph_of(plan, SPECS, dict.fromkeys(SPECS, 1))


def cycle_of(world: World) -> Cycle:
    """A cycle at work on a surface where every agent has a first version."""
    world.controller().evolve(("bootstrap",))
    datasets = world.services.datasets
    return Cycle(
        services=world.services,
        id=9,
        surface="home",
        dataset_name="generated",
        fingerprint=datasets.load("generated").fingerprint,
        request=EvolveRequest(kind="individual", trials=2, seconds=60, split="leave_one_out"),
        watch=lambda event: None,
    )


def test_credits_divide_what_the_composition_adds_on_the_search_users(world: World) -> None:
    with cycle_of(world) as cycle:
        graph = graph_of("ease", "itemknn", reranker="mmr")
        found = credit_of(cycle, graph)
        entries = [Entry("whole", graph), Entry("rest", graph_of("ease", "itemknn"))]
        arena = Arena(cycle).measure_all(entries)
    searched = search_users(arena["whole"].users)
    whole, rest = (
        float(arena[key].per_user["value@10"][searched].mean()) for key in ("whole", "rest")
    )
    assert found["users"] == searched.sum()
    assert found["whole"] == pytest.approx(whole)
    assert found["agents"]["mmr"]["leave_one_out"]["mean"] == pytest.approx(whole - rest)
    assert found["exact"]
    assert found["measured"] < 64
    credits_ = shapley_means(found)
    assert set(credits_) == set(graph.agents())
    assert math.fsum(credits_.values()) == pytest.approx(found["whole"] - found["nobody"])
    for one in found["agents"].values():
        for kind in ("leave_one_out", "shapley"):
            assert one[kind]["low"] <= one[kind]["mean"] <= one[kind]["high"]
        assert one["sampling"] is None
    assert found["agents"]["ease"]["shapley"]["mean"] > found["agents"]["mmr"]["shapley"]["mean"]


def test_where_not_all_can_be_measured_orders_are_drawn(world: World) -> None:
    with cycle_of(world) as cycle:
        found = credit_of(cycle, graph_of("ease", "itemknn", reranker="mmr"), most=16)
    assert not found["exact"]
    assert found["orders"] >= 4
    credits_ = shapley_means(found)
    assert math.fsum(credits_.values()) == pytest.approx(found["whole"] - found["nobody"])
    for name, one in found["agents"].items():
        low, high = one["sampling"]
        assert low <= credits_[name] <= high


def test_many_agents_are_measured_within_what_was_allowed() -> None:
    retrievers = blueprint.of_role(SPECS, "retrieval")[:8]
    graph = graph_of(*[name for name in retrievers if name != "popularity"], reranker="mmr")
    plan = plan_of(graph, SPECS, most=64, seed=0)
    assert len(plan.members) >= 10
    assert len(plan.orders) >= 4
    assert {head for order in plan.orders for head in heads(order)} <= plan.coalitions
    everybody = frozenset(plan.members)
    assert {everybody - {one} for one in plan.members} <= plan.coalitions
    distinct = {at_work(graph, one, SPECS) for one in plan.coalitions}
    assert len(distinct) <= 64
    more = plan_of(graph, SPECS, most=128, seed=0)
    assert len(more.orders) > len(plan.orders)
    assert more.orders[: len(plan.orders)] == plan.orders
    least = plan_of(graph, SPECS, most=1, seed=0)
    assert len(least.orders) == 4


def test_few_agents_need_no_orders() -> None:
    graph = graph_of("popularity")
    every = frozenset({frozenset[str](), *(frozenset({n}) for n in graph.agents())})
    assert plan_of(graph, SPECS, most=64, seed=0) == CreditPlan(
        ("popularity", "rrf"), (), every | {frozenset(graph.agents())}
    )


def test_a_coalition_that_cannot_be_measured_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cycle_of(world) as cycle:
        run = cycle.runner.run

        def some_fail(jobs: object) -> object:
            for outcome in run(jobs):  # type: ignore[arg-type]  # passed on as it came
                assert isinstance(outcome, Succeeded)
                yield (
                    Failed(outcome.key, "out_of_memory", "killed")
                    if outcome.key[-1] == "1"
                    else outcome
                )

        monkeypatch.setattr(cycle.runner, "run", some_fail)
        with pytest.raises(EvolutionError, match="ease alone: out_of_memory: killed"):
            credit_of(cycle, graph_of("ease", "popularity"))


def test_coalitions_that_are_worth_the_same_are_measured_once(world: World) -> None:
    asked = [frozenset({"rrf"}), frozenset({"rrf", "mmr"}), frozenset({"ease", "rrf"})]
    ran: list[str] = []
    with cycle_of(world) as cycle:
        cycle.watch = lambda event: ran.append(event.text)
        graph = graph_of("ease", "popularity", reranker="mmr")
        measured = measure_coalitions(cycle, graph, asked)
        assert stages.champion(cycle).number == 1
    assert ran == ["2 of 2 coalitions measured"]
    found = measured.rewards
    assert set(found) == set(asked)
    assert measured.jobs == 2
    assert measured.seconds > 0
    assert np.array_equal(found[asked[0]], found[asked[1]])
    assert not np.array_equal(found[asked[0]], found[asked[2]])
    assert len(measured.users) == len(found[asked[0]])
