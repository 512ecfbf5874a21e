"""Something else begins to serve while a proposal waits: what it was compared with is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlmodel import select

from agenticrs.evolution import verdicts
from agenticrs.evolution.controller import STEPS, Controller
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Stale
from agenticrs.registry import cycles, intentions, promotion, proposals
from agenticrs.registry.tables import MemoryRow, ProposalRow
from agenticrs.ui.summary import cycle_summary

from .test_agent_versions_that_need_a_person import Surface

if TYPE_CHECKING:
    from tests.evolution.conftest import World

    from agenticrs.evolution.cycle import Cycle

WHY = "it was compared with composition 1, but composition 3 serves now"


@dataclass(frozen=True)
class Waiting(Surface):
    """A compositional proposal waits."""

    cycle: int

    def of_waiting(self) -> ProposalRow:
        return self.proposal(self.cycle)

    def improve(self, patch: pytest.MonkeyPatch) -> None:
        """An individual cycle whose winner is promoted by policy."""
        with patch.context() as wins:
            wins.setattr(verdicts, "convincing", lambda scores, *_: [True for _ in scores])
            self.evolve(agents=("itemknn",))

    def why(self) -> str:
        with session_scope(self.world.services.engine) as session:
            return proposals.why_stale(session, proposals.get(session, self.of_waiting().id or 0))

    def promoted(self) -> dict[str, Any]:
        with session_scope(self.world.services.engine) as session:
            steps = {step.name: step.result for step in cycles.steps(session, self.cycle)}
        return dict(steps.get("promote", {}))


@pytest.fixture
def waiting(world: World) -> Waiting:
    """Composition 1 serves, the proposal to let 2 serve waits."""
    wide = world.with_settings(trials=3)
    found = Waiting(wide, wide.controller().evolve(("compositional",))[-1])
    assert (found.of_waiting().before, found.of_waiting().after) == (1, 2)
    return found


def test_what_was_compared_with_something_that_no_longer_serves_cannot_be_approved(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert waiting.why() == ""
    waiting.improve(monkeypatch)
    with session_scope(waiting.world.services.engine) as session:
        assert intentions.why_stale(session, "home", None) == "", "the first is compared with none"
    now = waiting.serving()
    assert now.number == 3
    assert waiting.pinned(3)["itemknn"] == 2
    assert waiting.why() == WHY
    with pytest.raises(Stale, match=f"{WHY}.*evolve again"):
        waiting.decide(waiting.of_waiting(), "approve")
    assert waiting.serving() == now, "nobody gets the older version back"
    assert waiting.of_waiting().state == "waiting"
    waiting.decide(waiting.of_waiting(), "reject")
    assert waiting.state(waiting.cycle) == "done", "to end it one needs not wait"


def test_new_cycles_supersede_it_and_its_own_ends(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting.improve(monkeypatch)
    done = waiting.world.controller().evolve(("compositional",))
    assert done[0] == waiting.cycle
    assert len(done) == 2, "that the old one ended is not what was asked for"
    assert waiting.of_waiting().state == "superseded"
    assert waiting.state(waiting.cycle) == "done"
    assert waiting.serving().number == 3
    assert waiting.audited("supersede") == [("policy", WHY)]
    assert waiting.why() == "", "it is over"


def test_after_a_rollback_what_merely_waited_can_be_approved(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting.improve(monkeypatch)
    waiting.world.controller().rollback(to=1, who="bob", reason="complaints")
    assert waiting.why() == ""
    waiting.decide(waiting.of_waiting(), "approve")
    assert waiting.serving().number == 2
    assert waiting.of_waiting().state == "promoted"


def test_what_became_stale_after_its_approval_is_not_promoted(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Approved while another process evolves, whose own winner then serves first."""
    own = Controller._resume
    with monkeypatch.context() as busy:
        busy.setattr(Controller, "_resume", lambda self: [])
        waiting.decide(waiting.of_waiting(), "approve")
        busy.setattr(Controller, "_resume_decided", lambda self: None)
        waiting.improve(monkeypatch)
    assert Controller._resume is own
    assert waiting.of_waiting().state == "approved"
    assert waiting.why() == WHY
    waiting.world.controller().resume()
    assert waiting.serving().number == 3
    assert waiting.promoted() == {
        "composition": None,
        "stale": f"the promotion of composition 2 is stale: {WHY}",
    }
    assert waiting.of_waiting().state == "superseded"
    assert waiting.state(waiting.cycle) == "done"
    told = cycle_summary(waiting.world.services.engine, waiting.cycle)["outcome"]
    assert told.startswith("nothing was promoted")
    folder = waiting.world.services.settings.home / "cycles" / str(waiting.cycle)
    assert "Nothing was promoted" in (folder / "report.md").read_text()


def test_a_winner_that_only_policy_approved_does_not_undo_what_came_between(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the steps approve and promote of an individual cycle somebody moves the alias."""
    steps, services = dict(STEPS["individual"]), waiting.world.services

    def overtaken(cycle: Cycle) -> Any:
        services.tracking.set_alias("home.composition", "champion", 2)
        promotion.reconcile(services.engine, services.tracking, "home")
        return steps["promote"](cycle)

    monkeypatch.setitem(cast(Any, STEPS), "individual", {**steps, "promote": overtaken})
    waiting.improve(monkeypatch)
    assert waiting.serving().number == 2
    with session_scope(services.engine) as session:
        newest = cycles.list_all(session, limit=1)[0]
        rows = cycles.steps(session, newest.id or 0)
    (result,) = (step.result for step in rows if step.name == "promote")
    assert newest.state == "done"
    assert "composition 2 serves now" in result["stale"]


def test_what_was_tried_is_remembered_while_the_proposal_waits_and_the_winner_when_it_is_decided(
    waiting: Waiting,
) -> None:
    def remembered() -> list[MemoryRow]:
        with session_scope(waiting.world.services.engine) as session:
            query = select(MemoryRow).where(MemoryRow.cycle_id == waiting.cycle)
            return [row for row in session.exec(query) if row.agent == "home"]

    before = remembered()
    assert before
    assert all(row.verdict != "promoted" for row in before)
    waiting.decide(waiting.of_waiting(), "reject")
    after = remembered()
    winner, decision = (row for row in after if row.key not in {one.key for one in before})
    assert (winner.verdict, decision.verdict) == ("better", "rejected")
    assert len({row.key for row in after}) == len(after)
