"""Pages of proposals and canaries that keep up to date while somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agenticrs.agents.experimentation.canary import Ladder
from agenticrs.evolution.canaries import rollout
from agenticrs.platform.database import session_scope
from agenticrs.registry import compositions, proposals
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
