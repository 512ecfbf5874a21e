"""What people decide, and why: the first composition waits for them, and their reasons are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.llm_server import endpoint

from agenticrs.evolution.drafting import composition_drafts
from agenticrs.platform.database import session_scope
from agenticrs.platform.llm.openai_client import OpenAIModel
from agenticrs.registry import audit, cycles, memory, policies, promotion, proposals
from agenticrs.registry.policies import Policy
from agenticrs.registry.spec import FloatRange
from agenticrs.registry.tables import CompositionRow, ProposalRow

from .conftest import World
from .opened import opened

if TYPE_CHECKING:
    from sqlalchemy import Engine

REASON = "the small shops would vanish from the first page"


async def no_wait(seconds: float) -> None:
    """Nobody waits in tests."""


@pytest.fixture
def asking(world: World) -> World:
    """A world whose policy lets nothing pass without one person, the first composition neither."""
    with session_scope(world.services.engine) as session:
        policies.write(
            session, Policy(otherwise=1), replaces=0, who="ada", reason="we look at everything"
        )
    return world


def waiting(engine: Engine) -> ProposalRow:
    with session_scope(engine) as session:
        (row,) = proposals.list_all(session, "home", "waiting")
    return row


def serving(engine: Engine) -> CompositionRow | None:
    with session_scope(engine) as session:
        return promotion.serving(session, "home")


def test_a_bootstrap_that_policy_does_not_let_pass_waits_for_a_person(asking: World) -> None:
    engine, tracking = asking.services.engine, asking.services.tracking
    (cycle_id,) = asking.controller().evolve(("bootstrap",))
    proposal = waiting(engine)
    assert (proposal.title, proposal.before) == ("The first composition", None)
    assert serving(engine) is None
    assert tracking.aliases(["home.composition"])["home.composition"].get("champion") is None
    with session_scope(engine) as session:
        assert cycles.get(session, cycle_id).state == "waiting"
        steps = {step.name: step.state for step in cycles.steps(session, cycle_id)}
    assert steps["approve"] == "waiting"
    assert "promote" not in steps

    assert asking.controller().resume() == [], "a restart decides nothing"
    assert serving(engine) is None

    asking.controller().decide(
        proposal.id or 0, verdict="approve", who="ada", reason="a fair start"
    )
    row = serving(engine)
    assert row is not None
    assert row.number == proposal.after
    assert tracking.aliases(["home.composition"])["home.composition"]["champion"] == row.number
    assert tracking.aliases(["home.itemknn"])["home.itemknn"]["champion"] == 1
    with session_scope(engine) as session:
        assert cycles.get(session, cycle_id).state == "done"
        (promoted,) = audit.entries(session, action="promote")
    assert (promoted.who, promoted.reason) == ("ada", "a fair start")


def test_a_rejected_first_composition_serves_nobody_and_the_next_bootstrap_asks_again(
    asking: World,
) -> None:
    engine = asking.services.engine
    first = asking.controller().evolve(("bootstrap",))
    asking.controller().decide(
        waiting(engine).id or 0, verdict="reject", who="ada", reason="not before the sale"
    )
    assert serving(engine) is None
    with session_scope(engine) as session:
        assert cycles.get(session, first[0]).state == "done"
        (found,) = memory.search(session, "home", verdicts=("rejected",))
    assert found.row.lesson == "a person rejected it: not before the sale"
    (second,) = asking.controller().evolve(("bootstrap",))
    assert second != first[0]
    assert waiting(engine).cycle_id == second


def test_the_reason_of_a_rejection_is_remembered_and_read_by_the_proposer(asking: World) -> None:
    engine = asking.services.engine
    asking.controller().evolve(("bootstrap",))
    asking.controller().decide(waiting(engine).id or 0, verdict="reject", who="ada", reason=REASON)
    with session_scope(engine) as session:
        (found,) = memory.search(session, "home", "small shops")
    assert (found.row.agent, found.row.origin) == ("home", "person")
    assert REASON in found.row.lesson

    space = (FloatRange(name="weight.ease", low=0.0, high=1.0),)
    with endpoint() as server:
        model = OpenAIModel("small", api_key="sk-test", base_url=server.base_url, wait=no_wait)
        drafting = World(replace(asking.services, language_models=[model]))
        with opened(drafting, trials=1, agents=("ease",)) as cycle:
            drafts = composition_drafts(
                cycle, space, lambda point: None, None, {"weight.ease": 1.0}, {}
            )
            assert drafts.ask([], 1) == [], "the endpoint has no answer"
    assert REASON in server.texts(0), "what people said stands in the prompt"
