"""The simulated user that learns to choose evolves in an individual cycle like other agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agenticrs.agents import artifact, catalogue
from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, trials, versions
from agenticrs.registry.admission import AdmissionReport

if TYPE_CHECKING:
    from tests.evolution.conftest import World

NAME = "simulated_user"


@pytest.mark.slow
def test_it_is_searched_by_its_choices_and_becomes_a_version(world: World) -> None:
    spec = catalogue.load_agents()[NAME].spec
    with session_scope(world.services.engine) as session:
        agents.record(session, spec, AdmissionReport(checks=[], admitted=True), "installed")
    asked = world.controller().evolve(kinds=("individual",), agents=(NAME,))[-1]
    with session_scope(world.services.engine) as session:
        rows = list(trials.of_cycle(session, asked))
        version = versions.latest(session, "home", NAME)
    assert {row.agent for row in rows} == {NAME}
    assert {row.state for row in rows} <= {"done", "pruned"}, [row.error for row in rows]
    best = max(row.reward for row in rows if row.reward is not None)
    assert best > 0.2, "a coin of ten sides chooses one in ten"
    assert version is not None
    assert version.metrics["choice@10"] > 0.2
    folder = world.services.tracking.download(f"home.{NAME}", version.number)
    agent = artifact.unpack(folder)
    assert agent.config.model_dump(mode="json") == version.config
