"""Alternating cycles on a small surface, from one kind to the other and back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.evolution.test_sensing import more_of_the_same

from agenticrs.evolution import compositional
from agenticrs.evolution.alternation import NothingDue
from agenticrs.evolution.cycle import Event
from agenticrs.evolution.cycle_report.contents import report_of
from agenticrs.evolution.cycle_report.text import markdown
from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, cycles, promotion, proposals
from agenticrs.registry.admission import AdmissionReport

if TYPE_CHECKING:
    from tests.evolution.conftest import World

MEMBERS = ("itemknn", "ease")


@dataclass
class Surface:
    """What people do to an alternating surface, and what they see of it."""

    world: World
    heard: list[str] = field(default_factory=list)

    def alternate(self) -> list[str]:
        """The kinds of cycles that one call runs."""
        controller = replace(self.world.controller(), watch=self.hear)
        done = controller.evolve("alternating", agents=MEMBERS)
        with session_scope(self.world.services.engine) as session:
            return [cycles.get(session, number).kind for number in done]

    def hear(self, event: Event) -> None:
        self.heard.append(event.text)

    def last(self) -> tuple[int, dict[str, Any]]:
        """The newest cycle and the results of its steps."""
        with session_scope(self.world.services.engine) as session:
            number = cycles.list_all(session, limit=1)[0].id or 0
            return number, {step.name: step.result for step in cycles.steps(session, number)}

    def decide(self, verdict: Any = "approve") -> int:
        """Decide on what waits; return the number of the composition that was proposed."""
        with session_scope(self.world.services.engine) as session:
            (waiting,) = proposals.list_all(session, "home", "waiting")
        self.world.controller().decide(
            waiting.id or 0, verdict=verdict, who="ada", reason="I have looked at it"
        )
        return waiting.after

    def serving(self) -> int:
        with session_scope(self.world.services.engine) as session:
            row = promotion.serving(session, "home")
        assert row is not None
        return row.number

    def shift(self) -> None:
        """The world moves."""
        datasets = self.world.services.datasets
        datasets.append_events(
            "generated", more_of_the_same(datasets.load("generated"), shifted=True)
        )


@pytest.fixture
def saturated(world: World) -> Surface:
    """No gain of a single agent is ever significant here."""
    return Surface(world.with_settings(trials=1, alpha=1e-6, saturated_after=2))


@pytest.fixture
def another_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best other composition convinces, whatever it is worth."""
    monkeypatch.setattr(compositional, "convincing", lambda scores, *_: [True for _ in scores])


@pytest.mark.usefixtures("another_graph")
def test_individual_saturated_compositional_approved_individual_in_the_new_graph(
    saturated: Surface,
) -> None:
    assert saturated.alternate() == ["bootstrap", "individual"]
    first = saturated.serving()
    assert saturated.alternate() == ["individual"]
    assert saturated.alternate() == ["compositional"], "its proposal waits, so nothing follows"
    number, steps = saturated.last()
    assert "individual cycles 2, 3 brought nothing" in steps["sense"]["why"]
    assert "individual cycles 2, 3 brought nothing" in markdown(
        report_of(saturated.world.services.engine, number)
    )
    assert any("individual cycles 2, 3 brought nothing" in text for text in saturated.heard)
    with pytest.raises(NothingDue, match="waits for a person"):
        saturated.alternate()
    proposed = saturated.decide()
    assert saturated.serving() == proposed != first
    assert saturated.alternate() == ["individual"]
    _, steps = saturated.last()
    assert steps["sense"]["serving"] == proposed
    assert "the graph is new" in steps["sense"]["why"]
    assert saturated.alternate() == ["individual"], "what the old graph's cycles did is forgotten"


def test_a_surface_on_which_nothing_changes_ends_its_cycles(saturated: Surface) -> None:
    ran = saturated.alternate() + saturated.alternate()
    assert saturated.alternate() == ["compositional", "individual"]
    ran += saturated.alternate()
    with pytest.raises(NothingDue, match="neither data nor agents have changed"):
        saturated.alternate()
    assert ran == ["bootstrap", "individual", "individual", "individual"]
    with session_scope(saturated.world.services.engine) as session:
        spec = agents.admitted(session)["ease"].model_copy(update={"summary": "It has changed."})
        agents.record(session, spec, AdmissionReport(checks=[], admitted=True), "changed")
    assert saturated.alternate() == ["compositional", "individual"]


@pytest.mark.usefixtures("another_graph")
def test_what_a_person_rejected_brought_nothing(saturated: Surface) -> None:
    saturated.world = saturated.world.with_settings(saturated_after=1)
    saturated.alternate()
    assert saturated.alternate() == ["compositional"]
    saturated.decide("reject")
    assert saturated.alternate() == ["individual"]
    with pytest.raises(NothingDue, match="nor did compositional cycle 3"):
        saturated.alternate()


def test_agents_that_still_gain_go_on(world: World) -> None:
    lenient = Surface(world.with_settings(trials=10, alpha=0.2, saturated_after=1))
    assert lenient.alternate() == ["bootstrap", "individual"]
    _, steps = lenient.last()
    assert any(verdict["accepted"] for verdict in steps["select"]["verdicts"])
    assert lenient.alternate() == ["individual"]
    _, steps = lenient.last()
    assert "cycle 2 brought +" in steps["sense"]["why"]


def test_drift_changes_the_graph_at_once_and_once(world: World) -> None:
    surface = Surface(world.with_settings(trials=1, alpha=0.05, minimum_effect=9.0))
    surface.alternate()
    surface.shift()
    assert surface.alternate() == ["individual", "compositional", "individual"]
    with session_scope(world.services.engine) as session:
        rows = cycles.list_all(session, "home", 3)[::-1]
    again, composed, after = (row.request for row in rows)
    assert "trained anew once" in again["why"]
    assert "items have drifted" in composed["why"]
    assert "left the graph as it is" in after["why"]
    assert surface.alternate() == ["individual"], "the same drift is answered"


def test_a_training_anew_that_was_cut_off_does_not_stand_for_what_comes_after(world: World) -> None:
    surface = Surface(world.with_settings(trials=1, minimum_effect=9.0))
    surface.alternate()
    surface.shift()

    def pull_the_plug(event: Event) -> None:
        if "trained anew once" in event.text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(surface.world.controller(), watch=pull_the_plug).evolve("alternating")
    assert surface.alternate()[-2:] == ["compositional", "individual"]


@pytest.mark.usefixtures("another_graph")
def test_a_proposal_from_before_the_drift_does_not_hold_up_the_answer(world: World) -> None:
    surface = Surface(world.with_settings(trials=1, minimum_effect=9.0, saturated_after=1))
    surface.alternate()
    assert surface.alternate() == ["compositional"]
    surface.shift()
    assert surface.alternate() == ["individual", "compositional"]
    with pytest.raises(NothingDue, match="waits for a person"):
        surface.alternate()


def test_the_graph_is_as_old_as_the_last_change_of_it(saturated: Surface) -> None:
    """An individual cycle's promotion leaves it alone; a rollback begins anew."""
    surface = Surface(saturated.world.with_settings(trials=10, alpha=0.2, saturated_after=1))
    surface.alternate()
    began = surface.serving()
    with session_scope(surface.world.services.engine) as session:
        done = promotion.history(session, "home")
    assert len(done) == 2, "a better version serves since the bootstrap"
    surface.alternate()
    _, steps = surface.last()
    assert "cycle 2 brought" in steps["sense"]["why"]
    surface.world.controller().rollback(to=None, who="ada", reason="I liked it better")
    assert surface.serving() != began
    surface.alternate()
    _, steps = surface.last()
    assert "the graph is new" in steps["sense"]["why"]
