"""The agent that plans canaries evolves like others, and canaries follow its champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.evolution.searching import admit

from agenticrs.evolution import stages
from agenticrs.evolution.canaries import rules
from agenticrs.platform.database import session_scope
from agenticrs.registry import trials, versions

if TYPE_CHECKING:
    from tests.evolution.conftest import World

NAME = "experiment_orchestrator"


def test_without_a_champion_people_set_the_margins_and_the_agents_defaults_do_the_rest(
    world: World,
) -> None:
    settings = world.services.settings.model_copy(
        update={"canary_margin": 0.02, "canary_latency": 0.0, "alpha": 0.01}
    )
    found = rules.rules_of(world.services.engine, world.services.tracking, settings, "home")
    assert [(one.metric, one.margin) for one in found.ladder.metrics] == [
        ("reward", 0.02),
        ("leaving", 0.05),
    ]
    assert found.ladder.metrics[1].worst == pytest.approx(0.15)
    assert (found.ladder.alpha, found.ladder.adjust) == (0.01, True)
    assert found.by == f"{NAME} at its defaults"


@pytest.mark.slow
def test_a_cycle_evolves_it_on_generated_canaries_and_the_next_canary_follows_its_champion(
    world: World,
) -> None:
    admit(world, NAME)
    world.controller().evolve(kinds=("individual",))
    world = world.with_settings(trials=6)
    (first,) = world.controller().evolve(kinds=("individual",), agents=(NAME,))
    world.controller().evolve(kinds=("individual",), agents=(NAME,))
    services = world.services
    with session_scope(services.engine) as session:
        tried = trials.of_cycle(session, first, NAME)
        kept = versions.of_agent(session, "home", NAME)
    assert all(row.state == "done" and row.reward is not None for row in tried)
    assert all("harm_caught_early" in row.metrics for row in tried)
    assert len({row.reward for row in tried}) > 1
    found = rules.rules_of(services.engine, services.tracking, services.settings, "home")
    number = int(found.by.rsplit(" ", 1)[1])
    (champion,) = (row for row in kept if row.number == number)
    assert found.ladder.patience == champion.config["patience"]
    assert found.ladder.users == champion.config["users"]
    assert found.ladder.planned == champion.config["planned"]
    assert stages.OUTER not in champion.metrics
