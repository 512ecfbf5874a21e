"""People, tokens, policies and report cards come a page at a time; the audit chain is checked."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text
from tests.ui.conftest import Place

from agenticrs.evolution.report_card import shelf
from agenticrs.evolution.report_card.card import ReportCard
from agenticrs.platform.database import session_scope
from agenticrs.registry import accounts, audit, policies, tokens
from agenticrs.registry.policies import Policy
from agenticrs.registry.tables import AccountRow


def test_people_and_tokens_have_pages_of_their_own(empty_place: Place) -> None:
    with session_scope(empty_place.engine) as session:
        for number in range(60):
            session.add(AccountRow(name=f"p{number:02}", password="", role="viewer"))
        for number in range(30):
            tokens.issue(
                session,
                owner="admin",
                name=f"script {number}",
                scopes=["read"],
                days=1,
                who="admin",
            )
        assert accounts.count(session) == 61
    client = empty_place.logged_in()
    text_ = client.get("/people").text
    assert "1–50 of 61 people" in text_  # noqa: RUF001
    assert "1–25 of 30 tokens" in text_  # noqa: RUF001
    assert "<b>p48</b>" in text_
    assert "<b>p49</b>" not in text_
    assert "<option>p59</option>" in text_, "a token can act for anybody"
    assert '/people?tokens_page=2"' in text_
    further = client.get("/people?page=2&tokens_page=2").text
    assert "<b>p49</b>" in further
    assert "script 4 " in further
    assert "script 5 " not in further


def test_versions_of_the_policy_come_a_page_at_a_time(empty_place: Place) -> None:
    with session_scope(empty_place.engine) as session:
        for number in range(23):
            policies.write(
                session, Policy(), replaces=number, who="ada", reason=f"reason {number}."
            )
    client = empty_place.logged_in()
    assert "reason 3." in client.get("/policies").text
    assert "reason 2." not in client.get("/policies").text
    assert "reason 2." in client.get("/policies?page=2").text


def test_only_the_cards_of_the_page_are_read(empty_place: Place) -> None:
    for number in range(1, 28):
        shelf.store(empty_place.settings.home, card(number))
    (empty_place.settings.home / "reports" / "home" / "1.json").write_text("no card")
    client = empty_place.logged_in()
    first, second = (client.get(f"/reports?page={page}").text for page in (1, 2))
    assert 'href="/reports/27"' in first
    assert 'href="/reports/2"' not in first
    assert 'href="/reports/2"' in second
    assert 'href="/reports/1"' not in second, "of another release"


def test_the_console_checks_the_chain_and_names_what_was_touched(empty_place: Place) -> None:
    client = empty_place.logged_in()
    with session_scope(empty_place.engine) as session:
        for number in range(3):
            audit.record(session, who="ada", action="try", subject=f"thing {number}")
        last = audit.verify(session).digest
    assert "The chain is" not in client.get("/audit").text
    answer = client.get("/audit?verify=yes").text
    assert "The chain is whole" in answer
    assert last in answer
    with empty_place.engine.begin() as connection:
        for trigger in connection.execute(
            text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        ).all():
            connection.execute(text(f"DROP TRIGGER {trigger[0]}"))
        connection.execute(text("UPDATE audit SET who = 'bo' WHERE subject = 'thing 1'"))
    answer = client.get("/audit?verify=yes").text
    assert "The chain is broken" in answer
    assert "was changed" in answer


def card(number: int) -> ReportCard:
    return ReportCard(
        surface="home",
        composition=number,
        dataset="generated",
        fingerprint="f",
        split="leave_one_out",
        users=7,
        seconds=1.0,
        made_at=datetime(2026, 11, 3, tzinfo=UTC),
        dimensions=(),
    )
