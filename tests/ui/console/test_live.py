"""Pages that keep up to date while somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agenticrs.agents.experimentation.canary import Ladder
from agenticrs.evolution import experiments as carried_out
from agenticrs.evolution.canaries import rollout
from agenticrs.evolution.experiments import Wanted
from agenticrs.evolution.scheduling import edits
from agenticrs.platform.database import session_scope
from agenticrs.registry import compositions, cycles, proposals
from agenticrs.ui.api import sessions
from agenticrs.ui.console import live

END = "event: end\ndata: end"


@pytest.fixture
def proposed(place: Any) -> Any:
    with session_scope(place.engine) as session:
        before = compositions.get(session, "home", 1)
        after = compositions.get(session, "home", 2)
    return place.propose(before, after)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Do something between the first look and the second of those values."""

    def arranged(name: str, work: Callable[[], object]) -> None:
        found, looks = getattr(live, name), 0

        def values(*given: Any) -> dict[str, Any]:
            nonlocal looks
            looks += 1
            if looks == 2:
                work()
            seen: dict[str, Any] = found(*given)
            return seen

        monkeypatch.setattr(live, name, values)

    return arranged


def said(place: Any, number: int, verdict: proposals.Verdict, reason: str) -> None:
    with session_scope(place.engine) as session:
        proposals.decide(session, number, verdict=verdict, who="ada", reason=reason)


def test_a_proposal_brings_what_others_say_and_ends_with_the_decision(
    place: Any, proposed: Any, meanwhile: Any
) -> None:
    client, path = place.logged_in(), f"/proposals/{proposed.id}"
    meanwhile("proposal_values", lambda: said(place, proposed.id, "reject", "too slow for phones"))
    page = client.get(path).text
    assert f'data-events="{path}/events"' in page
    answer = client.get(f"{path}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    before, after, end, _ = answer.text.split("\n\n")
    assert "too slow for phones" not in before
    assert "Request changes" in before
    token = page.split('name="csrf" value="')[1].split('"')[0]
    assert f'name="csrf" value="{token}"' in before, "its forms can be sent"
    assert "too slow for phones" in after
    assert "Request changes" not in after, "nobody is asked any more"
    assert end == END
    assert "live.js" not in client.get(path).text


def test_the_list_of_proposals_is_sent_again_when_one_is_decided(
    place: Any, proposed: Any, meanwhile: Any
) -> None:
    client = place.logged_in()

    def work() -> None:
        said(place, proposed.id, "reject", "no")
        store = client.app.state.sessions  # a list never ends, but who looks at it may leave
        store.end(store.read(client.cookies[sessions.COOKIE]))

    meanwhile("list_values", work)
    before, after, _ = client.get("/proposals/events").text.split("\n\n")
    assert "waiting" in before
    assert "rejected" in after


def test_a_canary_brings_its_steps_and_ends_when_it_is_over(place: Any, meanwhile: Any) -> None:
    engine, tracking = place.engine, place.tracking
    row = rollout.begin(
        engine,
        tracking,
        surface="home",
        after=2,
        ladder=Ladder(),
        horizon=60.0,
        key="k",
        who="ada",
        reason="a cautious start",
        cause="approval",
    )
    client = place.logged_in()
    meanwhile(
        "canary_values",
        lambda: rollout.answer(
            engine, tracking, "home", "roll back", who="ada", reason="complaints"
        ),
    )
    assert f'data-events="/canaries/{row.id}/events"' in client.get("/canary").text
    before, after, end, _ = client.get(f"/canaries/{row.id}/events").text.split("\n\n")
    assert "Roll back" in before
    assert "complaints" in after
    assert "Roll back" not in after
    assert end == END
    assert "live.js" not in client.get("/canary").text


def leave(client: Any) -> None:
    """Whoever looks at a list logs out: it never ends by itself."""
    store = client.app.state.sessions
    store.end(store.read(client.cookies[sessions.COOKIE]))


def test_an_experiment_brings_its_end_and_then_is_still(place: Any, meanwhile: Any) -> None:
    number = planned(place)
    client, path = place.logged_in(), f"/experiments/{number}"
    meanwhile(
        "experiment_values",
        lambda: carried_out.stop(place.engine, "home", number, who="ada", reason="a holiday"),
    )
    page = client.get(path).text
    assert f'data-events="{path}/events"' in page
    before, after, end, _ = client.get(f"{path}/events").text.split("\n\n")
    assert "Stop without a conclusion" in before
    assert "a holiday" in after
    assert "Stop without a conclusion" not in after
    assert end == END
    assert "live.js" not in client.get(path).text


def test_the_list_of_experiments_is_sent_again_when_one_begins(place: Any, meanwhile: Any) -> None:
    client = place.logged_in()

    def work() -> None:
        planned(place)
        leave(client)

    meanwhile("experiments_list", work)
    assert 'data-events="/experiments/events"' in client.get("/experiments").text
    before, after, _ = client.get("/experiments/events").text.split("\n\n")
    assert "No experiment has been planned yet" in before
    assert "Does a calmer page" in after


def test_the_list_of_cycles_is_sent_again_with_what_was_asked_for(
    place: Any, meanwhile: Any
) -> None:
    client = place.logged_in()
    with session_scope(place.engine) as session:
        done = cycles.count(session, "home")

    def work() -> None:
        with session_scope(place.engine) as session:
            cycles.open_cycle(
                session,
                surface="home",
                kind="individual",
                dataset="generated",
                fingerprint="f",
                seed=0,
                request={},
            )
        leave(client)

    meanwhile("cycles_list", work)
    assert 'data-events="/cycles/events?state=running"' in client.get("/cycles?state=running").text
    before, after, _ = client.get("/cycles/events?state=running").text.split("\n\n")
    assert "No cycle is like that" in before
    assert f'href="/cycles/{done + 1}"' in after
    assert f'href="/cycles/{done}"' not in after, "that one is done"


def test_schedules_bring_what_others_ask_and_a_removed_one_is_over(
    place: Any, meanwhile: Any
) -> None:
    client = place.logged_in()
    with session_scope(place.engine) as session:
        edits.add(session, "home", "events", {"cron": "30 2 * * *"}, who="ada")

    def ask() -> None:
        with session_scope(place.engine) as session:
            edits.run_now(session, "home", "events", who="bo", reason="new data")
        leave(client)

    def remove() -> None:
        with session_scope(place.engine) as session:
            edits.remove(session, "home", "events", who="bo", reason="no longer")

    meanwhile("schedules_list", ask)
    assert 'data-events="/schedules/-/events"' in client.get("/schedules").text
    before, after, _ = client.get("/schedules/-/events").text.split("\n\n")
    assert "asked to run" not in before
    assert "asked to run" in after
    client = place.logged_in()
    assert 'data-events="/schedules/events/events"' in client.get("/schedules/events").text
    meanwhile("schedule_values", remove)
    only, _ = client.get("/schedules/events/events").text.split("\n\n")
    assert "bo wants it to run now: new data" in only
    assert client.get("/schedules/events/events").status_code == 404


def planned(place: Any) -> int:
    """A running experiment; its number."""
    wanted = Wanted("Does a calmer page bring more watch time?", "calm", "dense")
    where = (place.engine, place.tracking, place.settings)
    return carried_out.begin(*where, wanted, who="ada", reason="people leave").id or 0
