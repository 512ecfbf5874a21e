from __future__ import annotations

import numpy as np
import pytest

from agenticrs.agents.experimentation.experiment import Design, Experiment, Plan, observe
from agenticrs.agents.experimentation.observation import Observation
from agenticrs.platform.errors import AgentError
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.rewards.experiments.sequential import Sample

PLAN = Plan(guardrails=(Guardrail("latency", margin=0.05),))


def observed(
    lift: float = 0.0,
    slower: float = 0.0,
    exposed: tuple[int, int] = (5000, 5000),
    spread: float = 1.0,
) -> Observation:
    arms = [
        {"reward": Sample(n, reward, 1.0), "latency": Sample(n, latency, spread)}
        for n, reward, latency in ((5000, 1 + lift, 1 + slower), (5000, 1.0, 1.0))
    ]
    return Observation(treatment=arms[0], control=arms[1], exposed=exposed)


def ended(plan: Plan, seen: Observation) -> Experiment:
    experiment = Experiment(plan=plan)
    while experiment.outcome == "go on":
        experiment = observe(experiment, seen)
    return experiment


def test_what_is_shown_to_be_better_is_taken_before_the_horizon() -> None:
    end = ended(PLAN, observed(lift=0.08))
    assert end.outcome == "treatment"
    assert end.step < PLAN.design.horizon
    assert end.reason.startswith("reward is better: +8.0%")


def test_what_is_worse_or_only_as_good_is_not() -> None:
    worse, same = ended(PLAN, observed(lift=-0.08)), ended(PLAN, observed())
    assert (worse.outcome, same.outcome) == ("control", "control")
    assert worse.reason.startswith("reward is worse")
    assert same.step == PLAN.design.horizon
    assert same.reason.startswith("not shown to be better in 14 steps")


def test_a_gain_does_not_pay_for_a_broken_guardrail() -> None:
    end = ended(PLAN, observed(lift=0.3, slower=0.3))
    assert (end.outcome, end.reason.split(":")[0]) == ("control", "latency is worse")


def test_a_gain_beside_an_open_guardrail_is_for_a_person() -> None:
    end = ended(PLAN, observed(lift=0.1, slower=0.05))
    assert (end.outcome, end.step) == ("ask", 14)
    assert end.reason.endswith("but not sure: ['latency']")


def test_arms_without_their_shares_of_users_are_for_a_person() -> None:
    end = ended(PLAN, observed(lift=0.02, exposed=(4700, 5000)))
    assert end.outcome == "ask"
    assert end.reason.startswith("users are not shared as they should")


def test_it_goes_on_from_its_json_and_not_beyond_its_end() -> None:
    first = observe(Experiment(plan=PLAN), observed(lift=0.01))
    assert Experiment.model_validate_json(first.model_dump_json()) == first
    with pytest.raises(AgentError, match="over: control"):
        observe(ended(PLAN, observed()), observed())
    with pytest.raises(AgentError, match="visits was not observed"):
        observe(Experiment(plan=Plan(guardrails=(Guardrail("visits", margin=0.1),))), observed())


def test_of_experiments_with_nothing_in_them_few_take_it() -> None:
    plan, taken = Plan(design=Design(horizon=10)), 0
    rng = np.random.default_rng(0)
    for _ in range(200):
        experiment = Experiment(plan=plan)
        while experiment.outcome == "go on":
            means = 1 + rng.standard_normal(2) / 5000**0.5
            arms = [{"reward": Sample(5000, float(mean), 1.0)} for mean in means]
            experiment = observe(
                experiment, Observation(treatment=arms[0], control=arms[1], exposed=(1, 1))
            )
        taken += experiment.outcome == "treatment"
    assert taken <= 10
