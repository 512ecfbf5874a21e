"""The overview: what waits for whom, and what serves on the registry's other surfaces."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import Session, select
from tests.ui.conftest import PASSWORD, Place
from tests.ui.test_administration import browser, want_two

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Stale
from agenticrs.registry import accounts, audit, compositions, objectives, proposals
from agenticrs.registry.tables import NoticeRow, ObjectiveRow, PromotionRow


@pytest.fixture
def staffed(place: Place) -> Place:
    """A proposal that ada asked for waits, among people of every role."""
    with session_scope(place.engine) as session:
        for name, role in (("vera", "viewer"), ("ada", "approver"), ("bo", "approver")):
            accounts.create(session, name, PASSWORD, role)  # type: ignore[arg-type]
        before = compositions.get(session, "home", 1)
        after = compositions.get(session, "home", 2)
    place.propose(before, after, title="Route cold users", proposed_by="ada")
    return place


def waits(place: Any, name: str) -> str:
    """The overview of somebody, down to what serves."""
    text: str = browser(place, name).get("/").text
    return text.partition("Serves now")[0]


def test_a_proposal_waits_for_who_can_decide_it_and_says_why_not_for_others(
    staffed: Place,
) -> None:
    want_two(staffed)
    assert "Waits for you" in waits(staffed, "bo")
    for name, why in (("vera", "for an approver"), ("ada", "you asked for it")):
        text = waits(staffed, name)
        assert "Waits for you" not in text
        assert "Waits for others" in text
        assert why in text
    with session_scope(staffed.engine) as session:
        proposals.decide(session, 1, verdict="approve", who="bo", reason="fair")
    assert "for one more person" in waits(staffed, "bo")
    assert "Waits for you" in waits(staffed, "admin")
    page = browser(staffed, "bo").get("/proposals/1").text
    assert "You have approved it" in page
    assert 'value="approve"' not in page
    assert 'value="reject"' in page


def test_a_stale_proposal_says_why_and_cannot_be_approved(staffed: Place) -> None:
    staffed.promote(2, key="by-hand")
    why = "it was compared with composition 1, but composition 2 serves now"
    page = browser(staffed, "bo").get("/proposals/1").text
    assert why in page
    assert 'value="approve"' not in page
    assert 'value="reject"' in page
    assert "Waits for you" not in waits(staffed, "bo")
    assert "stale, as something else serves" in waits(staffed, "bo")
    assert 'class="state stale"' in browser(staffed, "bo").get("/proposals").text
    client = browser(staffed, "bo")
    assert client.get("/v1/proposals/1").json()["stale"] == why
    assert [row["stale"] for row in client.get("/v1/proposals").json()] == [why]
    with session_scope(staffed.engine) as session, pytest.raises(Stale, match="evolve again"):
        proposals.decide(session, 1, verdict="approve", who="bo", reason="fair")
    staffed.promote(1, key="back")
    page = browser(staffed, "bo").get("/proposals/1").text
    assert why not in page
    assert 'value="approve"' in page
    assert client.get("/v1/proposals/1").json()["stale"] == ""


def test_weights_that_wait_are_told_outside_and_on_the_overview(staffed: Place) -> None:
    with session_scope(staffed.engine) as session:
        row = objectives.file(
            session,
            ObjectiveRow(
                surface="home",
                proposed_by="objective_configurator",
                before={"watch_time": 1.0},
                after={"retention": 1.0},
                evidence={},
                state="waiting",
                reason="they come back",
            ),
        )
        number = row.id
        notice = session.exec(
            select(NoticeRow).where(NoticeRow.key == f"objectives:{number}")
        ).one()
    assert (notice.event, notice.data["path"]) == ("proposal.waiting", f"/objectives/{number}")
    assert f'href="/objectives/{number}"' in waits(staffed, "bo")


def test_other_surfaces_of_the_registry_are_told(staffed: Place) -> None:
    assert "Other surfaces" not in browser(staffed, "vera").get("/").text
    with session_scope(staffed.engine) as session:
        serve_elsewhere(session)
    text = browser(staffed, "vera").get("/").text
    assert "Other surfaces" in text
    assert '<th scope="row">shop</th><td class="number">composition #1</td>' in text


def serve_elsewhere(session: Session) -> None:
    """The first composition serves on the surface "shop", too."""
    known = compositions.get(session, "home", 1)
    session.add(
        type(known)(
            **known.model_dump(exclude={"id", "surface", "model"}),
            surface="shop",
            model="shop.composition",
        )
    )
    session.add(
        PromotionRow(
            surface="shop",
            after=1,
            state="done",
            who="evolution",
            reason="first",
            cause="bootstrap",
            key="shop-1",
        )
    )
    audit.record(session, who="evolution", action="promote", subject="shop composition 1")
