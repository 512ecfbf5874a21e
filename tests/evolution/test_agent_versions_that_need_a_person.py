"""Better agent versions under ``auto_approve_agents=False``: they wait, and a person decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict
from agenticrs.registry import audit, compositions, cycles, promotion, proposals, versions
from agenticrs.registry.graph import Graph
from agenticrs.registry.proposals import Verdict
from agenticrs.registry.tables import CompositionRow, ProposalRow

if TYPE_CHECKING:
    from tests.evolution.conftest import World

INSIDE, OUTSIDE = "itemknn", "ease"
"""Two agents that find something better: one takes part in the first composition, one does not."""


@dataclass(frozen=True)
class Surface:
    """What one may look at from outside while proposals come and go."""

    world: World

    def evolve(self, *, agents: tuple[str, ...] = (INSIDE, OUTSIDE)) -> int:
        """An individual cycle (after the bootstrap, at the first time); its id."""
        return self.world.controller().evolve(("individual",), agents=agents)[-1]

    def decide(self, proposal: ProposalRow, verdict: Verdict) -> None:
        self.world.controller().decide(
            proposal.id or 0, verdict=verdict, who="ada", reason="I have looked at it"
        )

    def serving(self) -> CompositionRow:
        with session_scope(self.world.services.engine) as session:
            row = promotion.serving(session, "home")
        assert row is not None
        return row

    def proposal(self, cycle_id: int) -> ProposalRow:
        with session_scope(self.world.services.engine) as session:
            row = proposals.of_cycle(session, cycle_id)
        assert row is not None
        return row

    def state(self, cycle_id: int) -> str:
        with session_scope(self.world.services.engine) as session:
            return cycles.get(session, cycle_id).state

    def steps(self, cycle_id: int) -> dict[str, str]:
        with session_scope(self.world.services.engine) as session:
            return {step.name: step.state for step in cycles.steps(session, cycle_id)}

    def pinned(self, number: int) -> dict[str, int]:
        with session_scope(self.world.services.engine) as session:
            graph = compositions.get(session, "home", number).graph
        return Graph.model_validate(graph).agents()

    def latest(self, agent: str) -> int:
        with session_scope(self.world.services.engine) as session:
            row = versions.latest(session, "home", agent)
        assert row is not None
        return row.number

    def alias(self, name: str, alias: str = "champion") -> int | None:
        model = f"home.{name}"
        return self.world.services.tracking.aliases([model]).get(model, {}).get(alias)

    def champions(self) -> dict[str, int | None]:
        """Who is called champion in tracking: the composition, and the agents that serve."""
        members = self.pinned(self.serving().number)
        return {name: self.alias(name) for name in ("composition", *members)}

    def reconcile(self) -> bool:
        """Look after MLflow as serving does; whether that changed anything."""
        services = self.world.services
        return promotion.reconcile(services.engine, services.tracking, "home") is not None

    def audited(self, action: str) -> list[tuple[str, str]]:
        with session_scope(self.world.services.engine) as session:
            return [(e.who, e.reason) for e in audit.entries(session, action=action)]


@pytest.fixture
def surface(world: World) -> Surface:
    # A lenient test on a small world: what is found is better by far, and always the same.
    return Surface(world.with_settings(auto_approve_agents=False, trials=10, alpha=0.2))


def test_a_better_version_of_a_member_waits_and_is_not_served_when_it_is_rejected(
    surface: Surface,
) -> None:
    cycle = surface.evolve()
    before, proposal = surface.serving(), surface.proposal(cycle)
    champions = surface.champions()
    assert surface.state(cycle) == "waiting"
    assert surface.steps(cycle)["approve"] == "waiting"
    assert "promote" not in surface.steps(cycle)
    assert (proposal.state, proposal.before) == ("waiting", before.number)
    assert proposal.evidence["members"]["changed"] == [INSIDE]
    assert INSIDE in proposal.title
    new = surface.latest(INSIDE)
    assert new == 2
    assert surface.pinned(proposal.after) == {**surface.pinned(before.number), INSIDE: new}
    assert champions == {"composition": before.number, **surface.pinned(before.number)}
    assert surface.alias("composition", "challenger") == proposal.after
    assert surface.alias(INSIDE, "challenger") == new
    assert not surface.reconcile()

    # A restart decides nothing by itself.
    assert surface.world.controller().resume() == []
    assert surface.state(cycle) == "waiting"
    assert surface.serving() == before

    surface.decide(proposal, "reject")
    assert surface.serving() == before
    assert surface.champions() == champions
    assert surface.alias(INSIDE) == 1, "a rejected version must never be called champion"
    for _ in range(2):
        assert not surface.reconcile()
    assert surface.serving() == before
    assert surface.audited("divergence") == []
    assert len(surface.audited("promote")) == 1, "the first composition's, and no other"
    assert surface.state(cycle) == "done"
    assert set(surface.steps(cycle).values()) == {"done"}
    assert surface.proposal(cycle).state == "rejected"
    assert surface.alias(OUTSIDE) == surface.latest(OUTSIDE) == 2, "who serves nobody may change"
    with pytest.raises(Conflict, match="rejected"):
        surface.decide(proposal, "approve")


def test_a_better_version_of_a_member_serves_once_it_is_approved(surface: Surface) -> None:
    cycle = surface.evolve()
    before, proposal = surface.serving(), surface.proposal(cycle)
    assert surface.alias(OUTSIDE) == 1, "nothing moves before the decision"
    surface.decide(proposal, "approve")
    after = surface.serving()
    assert after.number == proposal.after
    assert after.parent == before.number
    assert surface.champions() == {
        "composition": after.number,
        **surface.pinned(before.number),
        INSIDE: 2,
    }
    assert surface.alias(OUTSIDE) == 2
    assert not surface.reconcile()
    assert surface.serving() == after
    assert surface.audited("promote")[0] == ("ada", "I have looked at it")
    assert surface.proposal(cycle).state == "promoted"
    assert surface.state(cycle) == "done"

    surface.world.controller().rollback(to=None, who="bob", reason="it was not")
    assert surface.serving() == before
    assert surface.alias(INSIDE) == 1
    assert not surface.reconcile()


def test_a_winner_outside_the_graph_needs_nobody(surface: Surface) -> None:
    cycle = surface.evolve(agents=(OUTSIDE,))
    assert surface.state(cycle) == "done"
    with session_scope(surface.world.services.engine) as session:
        assert proposals.list_all(session, "home") == []
    assert surface.alias(OUTSIDE) == surface.latest(OUTSIDE) == 2
    assert surface.serving().number == 1
    assert not surface.reconcile()


def test_by_policy_the_same_winner_serves_without_a_person(surface: Surface) -> None:
    automatic = Surface(surface.world.with_settings(auto_approve_agents=True))
    cycle = automatic.evolve()
    assert automatic.state(cycle) == "done"
    assert automatic.pinned(automatic.serving().number)[INSIDE] == 2
    assert automatic.alias(INSIDE) == 2
    with session_scope(automatic.world.services.engine) as session:
        assert proposals.list_all(session, "home") == []
    assert automatic.audited("promote")[0][0] == "evolution"


def test_a_newer_proposal_takes_the_place_of_one_that_still_waits(surface: Surface) -> None:
    first = surface.evolve(agents=(INSIDE,))
    before = surface.serving()
    (second,) = surface.world.controller().evolve(("compositional",))
    old, new = surface.proposal(first), surface.proposal(second)
    assert (old.state, new.state) == ("superseded", "waiting")
    with pytest.raises(Conflict, match="superseded"):
        surface.decide(old, "approve")
    assert surface.state(first) == "done", "nobody can decide about it any more"
    assert surface.serving() == before
    surface.decide(new, "approve")
    assert surface.serving().number == new.after
    assert not surface.reconcile()
