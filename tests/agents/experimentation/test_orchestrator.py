from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.contract import AgentContract, small_log
from agenticrs.agents.experimentation.canary import REWARD, Canary, step
from agenticrs.agents.experimentation.observation import Observation
from agenticrs.agents.experimentation.orchestrator import (
    LADDERS,
    ExperimentConfig,
    ExperimentOrchestrator,
)
from agenticrs.agents.probe import AgentProbe, tiny_fold
from agenticrs.agents.trial import TrialRequest, evaluate_version, run_trial
from agenticrs.registry.admission import admit
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.rewards.experiments.quality import METRICS, Traffic, changes, decision_quality
from agenticrs.rewards.experiments.sequential import Sample

GUARDRAILS = (
    Guardrail("leaving", margin=0.05, worst=0.15),
    Guardrail("latency", margin=0.05, worst=0.15),
)
STATUS = ("running", "promoted", "rolled back", "paused")


class TestContract(AgentContract):
    agent_type = ExperimentOrchestrator


def agent(**config: object) -> ExperimentOrchestrator:
    made = ExperimentOrchestrator(ExperimentConfig.model_validate(config))
    made.fit(small_log(), Budget())
    return made


def test_it_is_admitted() -> None:
    report = admit(ExperimentOrchestrator.spec, AgentProbe(ExperimentOrchestrator))
    assert report.admitted, [check for check in report.checks if not check.passed]


def test_users_are_shared_as_the_first_stage_says_and_stay_where_they_are() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    users = UserBatch(torch.arange(20_000), torch.zeros(20_001, dtype=torch.int64), nothing)
    first = agent(ladder="5-25-100").act(users, (), 10).segment
    assert float((first == 0).float().mean()) == pytest.approx(0.05, abs=0.005)
    fewer = agent(ladder="1-5-10-25-50-100").act(users, (), 10).segment
    assert bool((first[fewer == 0] == 0).all())
    other = agent(ladder="5-25-100", salt="another").act(users, (), 10).segment
    assert float(((first == 0) & (other == 0)).float().mean()) < 0.005


def test_a_user_without_an_index_stays_in_the_control() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    users = UserBatch(torch.full((3,), -1), torch.zeros(4, dtype=torch.int64), nothing)
    assert agent().act(users, (), 10).segment.tolist() == [1, 1, 1]


def test_a_ladder_that_does_not_rise_is_refused() -> None:
    for ladder in ("5-1-100", "1-5", "one-100"):
        with pytest.raises(ValueError, match="ladder"):
            agent(ladder=ladder)


def test_its_rules_stay_within_what_people_allow() -> None:
    rules = agent(ladder="5-25-100", caution=0.5, adjust=False).ladder(
        REWARD, GUARDRAILS, alpha=0.02
    )
    assert rules.stages == (0.05, 0.25, 1.0)
    assert (rules.alpha, rules.adjust) == (0.02, False)
    assert [one.margin for one in rules.metrics] == [0.005, 0.025, 0.025]
    assert [one.tolerated for one in rules.metrics] == [0.0, 0.05, 0.05]


@settings(max_examples=12, deadline=None)
@given(
    ladder=st.sampled_from(LADDERS),
    users=st.sampled_from([50, 200, 1000]),
    steps=st.integers(1, 4),
    patience=st.integers(10, 30),
    planned=st.sampled_from([200.0, 2000.0, 20_000.0]),
    caution=st.sampled_from([0.5, 1.0]),
    seed=st.integers(0, 3),
)
def test_generated_canaries_end_as_the_ladder_itself_would_end_them(
    seed: int, **config: Any
) -> None:
    """The judge runs all canaries at once; the state machine, fed the same luck, agrees."""
    made, world, runs = agent(adjust=False, **config), Traffic(lifetime=40), 12
    found = decision_quality(made.course, world, runs=runs, seed=seed)
    lifts, luck = changes(runs, seed).lifts, torch.Generator().manual_seed(seed + 1)
    noise = [
        torch.randn(runs, 2, 3, generator=luck, dtype=torch.float64) for _ in range(world.lifetime)
    ]
    for row in range(runs):
        canary = Canary(ladder=made.ladder(REWARD, GUARDRAILS, alpha=0.05))
        while canary.status == "running" and canary.step < world.lifetime:
            canary = step(canary, observed(canary, world, lifts[row], noise[canary.step][row]))
        assert canary.status == STATUS[int(found.status[row])]
        assert (canary.step, canary.stage) == (int(found.steps[row]), int(found.stage[row]))


def observed(
    canary: Canary, world: Traffic, lifts: torch.Tensor, noise: torch.Tensor
) -> Observation:
    treated = round(canary.share * world.users)
    arms = []
    for arm, n in ((0, treated), (1, world.users - treated)):
        means = 1 + (lifts if arm == 0 else 0) + noise[arm] * torch.tensor(world.deviation) / n**0.5
        arms.append(
            {
                name: Sample(n, float(mean), deviation**2)
                for name, mean, deviation in zip(METRICS, means, world.deviation, strict=True)
            }
        )
    return Observation(treatment=arms[0], control=arms[1], exposed=(0, 0))


def test_a_search_finds_rules_that_decide_better_than_the_usual_ones_on_other_canaries() -> None:
    rng = np.random.default_rng(0)
    drawn = [
        agent(
            ladder=str(rng.choice(LADDERS)),
            patience=int(rng.integers(10, 60)),
            planned=float(np.exp(rng.uniform(np.log(200), np.log(50_000)))),
        )
        for _ in range(12)
    ]
    best = max(drawn, key=lambda one: decision_quality(one.course, runs=200, seed=1).captured)
    found, usual = (
        decision_quality(one.course, runs=400, seed=2).captured for one in (best, agent())
    )
    assert found > usual + 0.02


def test_a_trial_measures_one_generated_canary_for_each_held_out_user() -> None:
    fold = tiny_fold()
    result = run_trial(fold, TrialRequest("experiment_orchestrator", {"planned": 3000.0}))
    values = result.per_user["decision_quality@10"]
    assert len(values) == len(result.users) == len(fold.users)
    assert result.totals["decision_quality@10"] == pytest.approx(float(values.mean()))
    assert result.artifacts is not None
    again = evaluate_version(fold, result.artifacts)
    assert np.array_equal(again.per_user["decision_quality@10"], values)
