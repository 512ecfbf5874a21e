"""Turns of a cycle when the credit that they rest on cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles

from .searching import watched

if TYPE_CHECKING:
    from tests.evolution.conftest import World


def test_a_lost_worker_in_the_measurement_of_credit_costs_the_credit_and_not_the_cycle(
    world: World,
) -> None:
    agents = ("ease", "itemknn")
    world.controller().evolve(("individual",), agents=agents)
    ran: list[str] = []
    unlucky = watched(world, ran, loses="coalition/3")
    (number,) = unlucky.controller().evolve(("individual",), agents=agents)
    assert any(key.endswith("coalition/3") for key in ran)
    with session_scope(world.services.engine) as session:
        assert cycles.get(session, number).state in ("done", "waiting")
        plan = next(s.result for s in cycles.steps(session, number) if s.name == "plan")
    assert {name: turn["trials"] for name, turn in plan["turns"].items()} == dict.fromkeys(
        agents, 2
    )
    for turn in plan["turns"].values():
        assert "an even share: credit could not be measured" in turn["reason"]
        assert "timeout: killed after its time limit" in turn["reason"]
    assert plan["credit"] == {}
    report = world.services.settings.home / "cycles" / str(number) / "report.md"
    assert "credit could not be measured" in report.read_text()
