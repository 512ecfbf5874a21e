"""Which dataset a surface evolves on, and decisions made while a cycle runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agenticrs.evolution.cycle import Event
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, EvolutionError
from agenticrs.registry import cycles, promotion, proposals

if TYPE_CHECKING:
    from tests.evolution.conftest import World


def store(world: World, name: str) -> None:
    small = GeneratorConfig(n_users=100, n_items=60)
    world.services.datasets.save(name, generate(small).raw)


def test_the_only_dataset_needs_no_name(world: World) -> None:
    (done,) = world.controller().evolve(kinds=("bootstrap",))
    with session_scope(world.services.engine) as session:
        assert cycles.get(session, done).dataset == "generated"


def test_of_two_datasets_one_must_be_named(world: World) -> None:
    store(world, "shop")
    with pytest.raises(EvolutionError, match="generated, shop"):
        world.controller().evolve(kinds=("bootstrap",))
    world.controller().evolve(kinds=("bootstrap",), dataset="shop")
    with session_scope(world.services.engine) as session:
        serving = promotion.serving(session, "home")
    assert serving is not None
    assert serving.dataset == "shop"


def test_without_any_dataset_the_error_says_how_to_get_one(world: World) -> None:
    empty = type(world.services.datasets)(world.services.settings.home / "nothing")
    bare = type(world)(replace(world.services, datasets=empty))
    with pytest.raises(EvolutionError, match="no dataset") as found:
        bare.controller().evolve()
    assert "data import" in str(found.value.hint)


def test_a_surface_keeps_its_dataset(world: World) -> None:
    store(world, "shop")
    world.controller().evolve(kinds=("bootstrap",), dataset="generated")
    with pytest.raises(Conflict, match="'generated', not on 'shop'") as found:
        world.controller().evolve(dataset="shop")
    assert "AGENTICRS_SURFACE" in str(found.value.hint)
    with session_scope(world.services.engine) as session:
        assert len(cycles.list_all(session)) == 1


def test_a_decision_made_while_a_cycle_runs_is_carried_out_when_it_ends(world: World) -> None:
    world.controller().evolve()
    with session_scope(world.services.engine) as session:
        (proposal,) = proposals.list_all(session, "home", "waiting")

    def decide_meanwhile(event: Event) -> None:
        with session_scope(world.services.engine) as session:
            waits = proposals.get(session, proposal.id or 0).state == "waiting"
        if waits:
            world.controller().decide(
                proposal.id or 0, verdict="approve", who="ada", reason="better"
            )

    busy = replace(world.controller(), watch=decide_meanwhile)
    busy.evolve(kinds=("individual",))
    with session_scope(world.services.engine) as session:
        row = proposals.get(session, proposal.id or 0)
        serving = promotion.serving(session, "home")
        assert row.cycle_id is not None
        assert cycles.get(session, row.cycle_id).state == "done"
    assert row.state == "promoted"
    assert serving is not None
    assert serving.number == proposal.after
