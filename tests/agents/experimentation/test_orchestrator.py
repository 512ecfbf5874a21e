from __future__ import annotations

import numpy as np
import pytest
import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.contract import AgentContract, small_log
from agenticrs.agents.experimentation.orchestrator import (
    ExperimentConfig,
    ExperimentOrchestrator,
)
from agenticrs.agents.probe import AgentProbe
from agenticrs.registry.admission import admit
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.rewards.experiments.quality import Traffic


class TestContract(AgentContract):
    agent_type = ExperimentOrchestrator


def agent(**config: object) -> ExperimentOrchestrator:
    made = ExperimentOrchestrator(ExperimentConfig.model_validate(config))
    made.fit(small_log(), Budget())
    return made


def test_users_are_shared_as_planned_and_stay_where_they_are() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    users = UserBatch(torch.arange(20_000), torch.zeros(20_001, dtype=torch.int64), nothing)
    first = agent(allocation=0.2).act(users, (), 10).segment
    assert float((first == 0).float().mean()) == pytest.approx(0.2, abs=0.01)
    assert torch.equal(agent(allocation=0.2).act(users, (), 10).segment, first)
    more = agent(allocation=0.4).act(users, (), 10).segment
    assert bool((more[first == 0] == 0).all())
    other = agent(allocation=0.2, salt="another").act(users, (), 10).segment
    both = float(((first == 0) & (other == 0)).float().mean())
    assert both == pytest.approx(0.04, abs=0.005)


def test_a_user_without_an_index_stays_in_the_control() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    users = UserBatch(torch.full((3,), -1), torch.zeros(4, dtype=torch.int64), nothing)
    assert agent(allocation=0.9).act(users, (), 10).segment.tolist() == [1, 1, 1]
    known = agent(allocation=0.9).arms(np.array([f"u{number}" for number in range(500)]))
    assert float((known.segment == 0).float().mean()) == pytest.approx(0.9, abs=0.05)


def test_its_design_becomes_a_plan() -> None:
    guardrail = Guardrail("latency", margin=0.05)
    plan = agent(allocation=0.25, horizon=7, spent=1.0).plan(1000, [guardrail])
    assert plan.metrics[1] == guardrail
    assert plan.design.planned(plan.users) == pytest.approx(7 * 1000 * 0.25 * 0.75)


def test_its_inner_reward_tells_designs_apart_and_can_be_repeated() -> None:
    world = Traffic(users=2000)
    one, same, hasty = (
        agent(**config).quality(world, runs=100, seed=0).captured
        for config in ({}, {}, {"horizon": 3, "allocation": 0.05})
    )
    assert one == same
    assert one > hasty + 0.1


def test_a_search_finds_for_each_traffic_the_design_that_suits_it() -> None:
    rng = np.random.default_rng(0)
    drawn = [
        agent(
            allocation=float(rng.uniform(0.05, 0.9)),
            horizon=int(rng.integers(3, 61)),
            spent=float(rng.uniform(0.05, 1.0)),
        )
        for _ in range(12)
    ]
    patient, hurried = Traffic(), Traffic(price=0.05)

    def found(world: Traffic) -> ExperimentOrchestrator:
        return max(drawn, key=lambda one: one.quality(world, runs=40, seed=1).captured)

    for own, other in ((patient, hurried), (hurried, patient)):
        suits, does_not = (
            found(world).quality(own, runs=100, seed=2).captured for world in (own, other)
        )
        assert suits > does_not + 0.02


def test_admission_refuses_it_as_long_as_evaluation_knows_no_decisions() -> None:
    """When this fails, evaluation has learnt its inner reward: then it can be installed."""
    report = admit(ExperimentOrchestrator.spec, AgentProbe(ExperimentOrchestrator))
    failed = {check.name: check.detail for check in report.checks if not check.passed}
    assert set(failed) == {"independent evaluability"}
    assert "decision_quality@10 is not known" in failed["independent evaluability"]
