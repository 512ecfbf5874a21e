"""Agents that wait to be asked for: absent, asked for by name, and then like the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenticrs.agents import catalogue
from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, cycles, trials, versions
from agenticrs.registry.admission import AdmissionReport

if TYPE_CHECKING:
    from tests.evolution.conftest import World


def tried(world: World, cycle_id: int) -> set[str]:
    with session_scope(world.services.engine) as session:
        return {row.agent for row in trials.of_cycle(session, cycle_id)}


def test_they_are_absent_until_they_are_asked_for(world: World) -> None:
    spec = catalogue.load_agents()["trending"].spec
    assert spec.on_request
    with session_scope(world.services.engine) as session:
        agents.record(session, spec, AdmissionReport(checks=[], admitted=True), "installed")
    for cycle_id in world.controller().evolve(kinds=("individual",)):
        assert "trending" not in tried(world, cycle_id)

    (asked,) = world.controller().evolve(kinds=("individual",), agents=("trending",))
    assert tried(world, asked) == {"trending"}
    with session_scope(world.services.engine) as session:
        assert versions.latest(session, "home", "trending") is not None

    later, composed = world.controller().evolve(agents=())
    assert "trending" in tried(world, later)
    with session_scope(world.services.engine) as session:
        plan = next(s for s in cycles.steps(session, composed) if s.name == "plan")
    assert "trending" in plan.result["members"]
