"""Tables that are searched, filtered and paged, and the reader's choice of colours."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ui.conftest import csrf_of

from agenticrs.platform.database import session_scope
from agenticrs.registry import audit, cycles, memory
from agenticrs.registry.tables import MemoryRow
from agenticrs.ui.console.audit import Change, changes


def remember(place: Any, key: str, proposal: str, verdict: str) -> None:
    with session_scope(place.engine) as session:
        memory.remember(
            session,
            MemoryRow(
                surface="home",
                agent="ease",
                key=key,
                origin="tpe",
                proposal=proposal,
                verdict=verdict,
                lesson="it made no difference",
                dataset="d",
                fingerprint="f",
            ),
        )


def test_the_memory_is_searched_by_words_and_verdict(empty_place: Any) -> None:
    client = empty_place.logged_in()
    assert "Nothing has been tried yet" in client.get("/memory").text
    remember(empty_place, "1", "l2 of a thousand", "worse")
    remember(empty_place, "2", "popularity taken out", "better")
    text = client.get("/memory?words=popularity").text
    assert "popularity taken out" in text
    assert "l2 of a thousand" not in text
    assert "Nothing that was tried fits" in client.get("/memory?verdict=promoted").text


def test_the_audit_log_is_filtered_and_pages_keep_the_filter(empty_place: Any) -> None:
    with session_scope(empty_place.engine) as session:
        for number in range(60):
            audit.record(session, who="ada", action="tried", subject=f"thing {number}", reason="%")
        audit.record(session, who="bo", action="looked", subject="thing", reason="50_50")
    client = empty_place.logged_in()
    text = client.get("/audit?action=tried&who=ada").text
    assert "looked</span>" not in text
    assert "action=tried&amp;who=ada&amp;before=" in text
    assert client.get("/audit?about=50_50").text.count("<tr>") == 2, "a letter is no wildcard"
    assert "No entry fits" in client.get("/audit?who=nobody").text


def test_an_audit_entry_says_what_changed_and_nothing_else() -> None:
    before = {"state": "waiting", "share": 0.1, "same": 1, "spec": {"cron": None, "every": 60}}
    after = {"state": "approved", "digest": "ab" * 32, "same": 1, "spec": {"every": 60}, "a": []}
    assert changes(before, after) == [
        Change("state", "waiting", "approved"),
        Change("share", "0.1", ""),
        Change("digest", "", "abababababab"),
    ]


def test_cycles_come_a_page_at_a_time(empty_place: Any) -> None:
    with session_scope(empty_place.engine) as session:
        for number in range(70):
            row = cycles.open_cycle(
                session,
                surface="home",
                kind="individual" if number % 2 else "compositional",
                dataset="d",
                fingerprint="f",
                seed=0,
                request={},
            )
            cycles.finish(session, row.id or 0, "done")
    client = empty_place.logged_in()
    assert "1–50 of 70 cycles" in client.get("/cycles").text  # noqa: RUF001
    assert "51–70 of 70 cycles" in client.get("/cycles?page=99").text  # noqa: RUF001
    text = client.get("/cycles?kind=individual&state=done").text
    assert "of 35 cycles" in text
    assert "No cycle is like that" in client.get("/cycles?state=failed").text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_the_readers_choice_on_every_page(empty_place: Any, theme: str) -> None:
    client = empty_place.logged_in()
    assert "data-theme" not in client.get("/").text
    form = {"csrf": csrf_of(client.get("/").text), "theme": theme, "next": "/audit?who=ada"}
    answer = client.post("/theme", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit?who=ada")
    assert f'data-theme="{theme}"' in client.get("/agents").text
    client.post("/theme", data=form | {"theme": "pink"})
    assert "data-theme" not in client.get("/").text


def test_the_way_back_after_a_choice_stays_here(empty_place: Any) -> None:
    client = empty_place.logged_in()
    form = {"csrf": csrf_of(client.get("/").text), "theme": "dark", "next": "//evil.example"}
    assert client.post("/theme", data=form).headers["location"] == "/"
    assert client.post("/theme", data=form | {"csrf": "0"}).status_code == 403


def test_without_a_canary_the_page_says_how_one_begins(empty_place: Any) -> None:
    client = empty_place.logged_in()
    assert "AGENTICRS_CANARY" in client.get("/canary").text
    assert client.get("/canaries/1").status_code == 404


def test_an_error_leads_back_to_its_part_of_the_console(empty_place: Any) -> None:
    page = empty_place.logged_in().get("/experiments/99")
    assert page.status_code == 404
    assert '<a href="/experiments">Experiments</a>' in page.text.split("<main")[1]


def test_an_error_keeps_the_menu_for_somebody_who_is_logged_in(empty_place: Any) -> None:
    client = empty_place.logged_in()
    assert 'href="/agents"' in client.get("/cycles/99").text
    assert 'href="/agents"' not in empty_place.client().get("/nothing").text
