"""The pages of schedules: next times, forms that name what is wrong, buttons with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete
from tests.ui.conftest import build_place, csrf_of

from agenticrs.evolution.scheduling import edits
from agenticrs.platform.database import session_scope
from agenticrs.registry import accounts, cycles, schedules
from agenticrs.registry.tables import ScheduleRow, ScheduleRunRow
from agenticrs.ui.api.sessions import COOKIE

ATTACK = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A place and a browser that has logged in, made once."""
    place = build_place(tmp_path_factory.mktemp("schedules"))
    yield place, place.logged_in()
    place.engine.dispose()


@pytest.fixture
def place(built: Any) -> Any:
    """The place without schedules."""
    with session_scope(built[0].engine) as session:
        for table in (ScheduleRow, ScheduleRunRow):
            session.connection().execute(delete(table))
    return built[0]


@pytest.fixture
def client(built: Any) -> Any:
    return built[1]


def add(place: Any, name: str = "nightly", **values: Any) -> None:
    with session_scope(place.engine) as session:
        edits.add(session, "home", name, values or {"cron": "30 2 * * *"}, who="ada")


def row(place: Any, name: str = "nightly") -> Any:
    with session_scope(place.engine) as session:
        return schedules.find(session, "home", name)


def send(client: Any, path: str, **fields: str) -> Any:
    token = csrf_of(client.get("/schedules").text)
    return client.post(path, data={"csrf": token, **fields})


def test_without_schedules_the_page_says_how_to_add_one(place: Any, client: Any) -> None:
    page = client.get("/schedules").text
    assert "Nothing begins by itself" in page
    assert "agenticrs schedules add" in page


def test_the_list_shows_next_times_that_a_script_can_read(place: Any, client: Any) -> None:
    add(place)
    page = client.get("/schedules").text
    begins = row(place).start_at.isoformat(timespec="seconds")
    assert f'<time datetime="{begins}"' in page
    assert "Nobody carries them out now" in page


def test_a_form_adds_a_schedule(place: Any, client: Any) -> None:
    answer = send(
        client,
        "/schedules",
        name="nightly",
        cron="30 2 * * mon-fri",
        timezone="Europe/Berlin",
        jitter_seconds="600",
        blackouts="daily 08:00-09:00\r\n2026-12-24\r\n",
        agents="itemknn, popularity",
        kind="individual",
        coalesce="yes",
        reason="quiet at night",
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/schedules/nightly")
    page = client.get("/schedules/nightly").text
    assert "daily 08:00-09:00, 2026-12-24; a run waits for the end" in page
    assert "up to 10 min" in page
    spec = row(place).spec
    assert (spec["timezone"], spec["jitter_seconds"]) == ("Europe/Berlin", 600)
    assert spec["blackouts"] == ["daily 08:00-09:00", "2026-12-24"]
    assert spec["agents"] == ["itemknn", "popularity"]
    assert spec["coalesce"] is True
    assert spec["on_drift"] is False
    assert client.get("/schedules/nightly").status_code == 200


def test_a_form_that_is_refused_comes_back_with_what_is_wrong_beside_the_field(
    place: Any, client: Any
) -> None:
    answer = send(
        client, "/schedules", name="nightly", cron=f"61 {ATTACK}", timezone="Mars", trials="many"
    )
    assert answer.status_code == 422
    for field in ("cron", "timezone", "trials"):
        assert f'id="wrong-{field}" role="alert"' in answer.text
    assert 'value="Mars"' in answer.text, "what was filled in is still there"
    assert ATTACK not in answer.text
    assert row(place) is None


@pytest.mark.parametrize("name", ["", "No Name", "setting", "taken"])
def test_a_bad_name_is_said_at_the_name(place: Any, client: Any, name: str) -> None:
    add(place, "taken")
    answer = send(client, "/schedules", name=name, cron="0 3 * * *")
    assert answer.status_code == 422
    assert 'id="wrong-name"' in answer.text


def test_an_edit_keeps_what_was_shown_and_of_two_editors_one_is_told(
    place: Any, client: Any
) -> None:
    add(place)
    shown = row(place).version
    fields = {"cron": "30 4 * * *", "coalesce": "yes", "version": str(shown)}
    assert send(client, "/schedules/nightly/edit", **fields).status_code == 303
    assert row(place).spec["cron"] == "30 4 * * *"
    assert send(client, "/schedules/nightly/edit", **fields).status_code == 409
    wrong = send(client, "/schedules/nightly/edit", **{**fields, "cron": "x"})
    assert wrong.status_code in (409, 422)


def test_buttons_pause_resume_run_and_remove_with_a_reason(place: Any, client: Any) -> None:
    add(place)
    assert send(client, "/schedules/nightly/pause", reason=" ").status_code == 403
    assert send(client, "/schedules/nightly/pause", reason="a release").status_code == 303
    assert row(place).state == "paused"
    assert "Not before it is resumed" in client.get("/schedules/nightly").text
    assert send(client, "/schedules/nightly/resume", reason="it is out").status_code == 303
    assert send(client, "/schedules/nightly/run", reason="new data").status_code == 303
    page = client.get("/schedules/nightly").text
    assert "wants it to run now: new data" in page
    answer = send(client, "/schedules/nightly/remove", reason="no longer")
    assert answer.headers["location"] == "/schedules"
    assert row(place) is None


def test_the_settings_schedule_offers_no_edit(place: Any, client: Any) -> None:
    edits.follow_setting(place.engine, "home", "0 3 * * *")
    page = client.get("/schedules/setting").text
    assert "AGENTICRS_SCHEDULE" in page
    assert "/schedules/setting/edit" not in page
    assert "/schedules/setting/remove" not in page
    assert "/schedules/setting/pause" in page


def test_a_viewer_sees_times_and_no_buttons(place: Any) -> None:
    add(place)
    with session_scope(place.engine) as session:
        accounts.enter(session, "vera", "test", "viewer")
    client = place.client()
    session, cookie = client.app.state.sessions.begin("vera")
    client.cookies.set(COOKIE, cookie)
    for path in ("/schedules", "/schedules/nightly"):
        page = client.get(path).text
        assert "nightly" in page
    assert "only the last of several runs, up to 1 h" in page, "its rules, without the form"
    for path in ("/schedules", "/schedules/nightly"):
        page = client.get(path).text
        assert 'action="/schedules' not in page
    answer = client.post("/schedules/nightly/pause", data={"csrf": session.csrf, "reason": "x"})
    assert answer.status_code == 403


def test_what_it_did_and_what_was_spent_is_shown(place: Any, client: Any) -> None:
    add(place)
    with session_scope(place.engine) as session:
        schedules.note(session, row(place), "missed", f"too late {ATTACK}")
    limited = replace(place, settings=place.settings.model_copy(update={"day_seconds": 500.0}))
    page = limited.logged_in().get("/schedules").text
    assert "too late" in page
    assert ATTACK not in page
    assert page.count("8 min 20 s") == 2, "the limit, and what is left of it"


def test_a_cycles_report_is_a_page_with_files_to_take_along(place: Any, client: Any) -> None:
    with session_scope(place.engine) as session:
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="generated",
            fingerprint="f",
            seed=0,
            request={},
        )
        cycles.finish(session, cycle.id or 0, "failed", error=f"Ray is gone {ATTACK}")
    number = cycle.id
    assert f'href="/cycles/{number}/report"' in client.get(f"/cycles/{number}").text
    page = client.get(f"/cycles/{number}/report")
    assert page.status_code == 200
    assert "It failed: Ray is gone" in page.text
    assert ATTACK not in page.text
    file = client.get(f"/cycles/{number}/report.md")
    assert file.headers["content-type"].startswith("text/markdown")
    assert "attachment" in file.headers["content-disposition"]
    assert client.get(f"/cycles/{number}/report.svg").status_code == 200
    assert client.get("/cycles/999/report").status_code == 404
