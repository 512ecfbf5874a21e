"""Parts of a model are agents: searched alone, and what they find is offered to the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agenticrs.agents import catalogue
from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, trials
from agenticrs.registry.admission import AdmissionReport

if TYPE_CHECKING:
    from tests.evolution.conftest import World

PART, WHOLE = NAMES = ("expert_router", "towers")


@pytest.mark.slow
def test_what_a_part_finds_is_offered_to_the_whole(world: World) -> None:
    with session_scope(world.services.engine) as session:
        for name in NAMES:
            spec = catalogue.load_agents()[name].spec
            agents.record(session, spec, AdmissionReport(checks=[], admitted=True), "installed")
    world.controller().evolve(kinds=("individual",))
    (cycle,) = world.controller().evolve(kinds=("individual",), agents=NAMES)
    with session_scope(world.services.engine) as session:
        rows = {name: list(trials.of_cycle(session, cycle, name)) for name in NAMES}
    done = [row for row in rows[PART] if row.state == "done"]
    assert done
    assert all(0 < (row.reward or 0) <= 1 for row in done)
    (given,) = [row for row in rows[WHOLE] if row.method == "given"]
    best = max(done, key=lambda row: (row.reward or 0.0, -row.number))
    own = [p.name for p in catalogue.load_agents()[PART].spec.space.expand()]
    assert {name: given.config[name] for name in own} == {n: best.config[n] for n in own}
