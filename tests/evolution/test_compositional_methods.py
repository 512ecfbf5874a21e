"""Who searches for compositions, in which order, and what a minimum effect asks of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from agenticrs.evolution.evidence import Estimate
from agenticrs.evolution.selection import convincing
from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, proposals, trials
from agenticrs.registry.tables import MethodStateRow

from .conftest import World


def steps_of(world: World) -> tuple[int, dict[str, Any]]:
    with session_scope(world.services.engine) as session:
        number = max(c.id or 0 for c in cycles.list_all(session) if c.kind == "compositional")
        return number, {step.name: step.result for step in cycles.steps(session, number)}


def test_the_plan_says_who_searches_and_why_and_a_policy_learns_from_all_of_it(
    world: World,
) -> None:
    asked = world.with_settings(trials=4, alpha=1e-9, methods="composition=policy")
    asked.controller().evolve(("compositional",))
    number, steps = steps_of(asked)
    assert steps["plan"]["search"]["order"] == ["greedy", "policy"]
    assert "baseline to beat" in steps["plan"]["search"]["reason"]
    with session_scope(asked.services.engine) as session:
        methods = [row.method for row in trials.of_cycle(session, number, "home")]
        learnt = session.exec(select(MethodStateRow).where(MethodStateRow.agent == "home")).all()
    assert {"greedy", "policy"} <= set(methods)
    assert set(steps["evaluate"]["best"]) <= set(methods)
    assert [(row.method, row.version) for row in learnt] == [("policy", 1)]

    asked.with_settings(methods=None, trials=1).controller().evolve(("compositional",))
    number, steps = steps_of(asked)
    assert steps["plan"]["search"]["order"] == ["greedy", "tpe", "policy"]
    assert steps["observe"]["policies"] == {"home": 2}


def test_a_composition_must_exceed_the_minimum_effect_for_certain(world: World) -> None:
    lenient = world.with_settings(trials=2, alpha=0.999, minimum_effect=0.9)
    lenient.controller().evolve(("compositional",))
    with session_scope(world.services.engine) as session:
        assert not [p for p in proposals.list_all(session, "home") if p.before is not None]


@pytest.mark.parametrize(
    ("least", "mean", "low", "p_value", "better"),
    [
        (0.0, 0.02, -0.001, 0.04, True),
        (0.0, 0.02, 0.01, 0.06, False),
        (0.0, -0.02, -0.03, 0.01, False),
        (0.01, 0.02, 0.011, 0.01, True),
        (0.01, 0.02, 0.009, 0.01, False),
    ],
)
def test_a_gain_convinces_by_its_test_and_by_its_whole_interval(
    least: float, mean: float, low: float, p_value: float, better: bool
) -> None:
    score = Estimate(mean=mean, low=low, high=0.05, p_value=p_value)
    assert convincing(score, 0.05, least) is better
