"""A cycle's plan: whose turn is how long, by credit, gain and cost; and models without a price."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agenticrs.evolution import agent_methods, turns
from agenticrs.evolution.candidates import rungs
from agenticrs.evolution.controller import Controller
from agenticrs.evolution.cycle import Event
from agenticrs.evolution.outer_reward.credit import shapley_means
from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, trials

from .conftest import World
from .opened import opened
from .test_composition_drafts import Drafting

AGENTS = ("itemknn", "popularity", "ease")
REWARDS = {
    "itemknn": (0.30, 0.20, 0.28, 0.33),
    "popularity": (0.11, 0.20, 0.16, 0.10),
    "ease": (0.30, 0.10, 0.34, 0.25),
}
SECONDS = {"itemknn": 2.0, "popularity": 0.5, "ease": 3.0}


def plan(world: World) -> dict[str, Any]:
    with session_scope(world.services.engine) as session:
        number = max(c.id or 0 for c in cycles.list_all(session))
        return {step.name: step.result for step in cycles.steps(session, number)}["plan"]


def test_turns_follow_credit_times_expected_gain_for_the_cost(world: World) -> None:
    world.controller().evolve(("bootstrap",))
    with opened(world, trials=1, agents=AGENTS) as cycle:
        for agent, rewards in REWARDS.items():
            for number, reward in enumerate(rewards):
                row = rungs.propose(cycle, agent=agent, number=number, method="tpe", config={})
                with session_scope(world.services.engine) as session:
                    trials.record_full(
                        session,
                        rungs.stored_id(row),
                        metrics={},
                        reward=reward,
                        seconds=SECONDS[agent],
                        device="cpu",
                    )
        with session_scope(world.services.engine) as session:
            cycles.finish(session, cycle.id, "done")
            seconds = {name: trials.mean_seconds(session, name) for name in AGENTS}
    with opened(world, trials=1, agents=AGENTS) as cycle:
        past = {name: agent_methods.remembered(cycle, name)[::-1] for name in AGENTS}
        with session_scope(world.services.engine) as session:
            cycles.finish(session, cycle.id, "done")

    asked = world.with_settings(trials=4, alpha=1e-9)
    asked.controller().evolve(("individual",), agents=AGENTS)
    planned = plan(world)
    owed = shapley_means(planned["credit"])
    assert owed["itemknn"] > owed["popularity"] > 0, "both serve, and one adds more"
    assert "ease" not in owed
    worth = {}
    for name in AGENTS:
        gain = turns.standing(name, past[name], credit=None, seconds=seconds[name]).gain
        worth[name] = owed.get(name, 0.0) * (gain or 0.0) / (seconds[name] or 1.0)
    assert min(worth["itemknn"], worth["popularity"]) > 0
    shares = {
        name: (turns.FLOOR + (1 - turns.FLOOR) * 3 * worth[name] / sum(worth.values())) / 3
        for name in AGENTS
    }
    whole = sum(turn["seconds"] for turn in planned["turns"].values())
    told = {name: turn["seconds"] / whole for name, turn in planned["turns"].items()}
    assert told == pytest.approx(shares)
    assert list(told) == sorted(told, key=lambda name: -worth[name])
    assert f"credit {owed['itemknn']:+.4f}" in planned["turns"]["itemknn"]["reason"]


@pytest.mark.parametrize("kind", ["individual", "compositional"])
def test_a_model_without_a_price_is_named_once_in_a_cycle(world: World, kind: Any) -> None:
    world.controller().evolve(("bootstrap",))
    said: list[str] = []

    def watch(event: Event) -> None:
        if "no price is known of small" in event.text:
            said.append(event.step)

    for prices, names in ((None, ["small"]), ("small=0/0", [])):
        said.clear()
        asked = world.with_settings(trials=1, alpha=1e-9, llm_prices=prices, llm_tokens=0.0)
        services = replace(asked.services, language_models=[Drafting({})])
        agents = ("ease",) if kind == "individual" else ()
        Controller(services, watch).evolve((kind,), agents=agents)
        assert plan(world)["unpriced"] == names
        assert said == ["plan"] * len(names)
