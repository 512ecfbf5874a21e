"""The console: every page, every decision without JavaScript, nothing that a name could break."""

from __future__ import annotations

import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from agenticrs.platform.database import session_scope
from agenticrs.registry import compositions, cycles, promotion, trials
from agenticrs.ui.api import sessions
from agenticrs.ui.console import live
from agenticrs.ui.console.cycles import cycle_values
from agenticrs.ui.console.entrance import inside

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'>"
STATIC = Path(__file__).parents[3] / "ui" / "static"


class Page(HTMLParser):
    """What a test wants to know of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def token_of(html: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', html)
    assert found is not None
    return found.group(1)


@pytest.fixture
def proposed(place: Any) -> Any:
    with session_scope(place.engine) as session:
        before = compositions.get(session, "home", 1)
        after = compositions.get(session, "home", 2)
    place.propose(before, after, title="Route cold users")
    return place


def all_pages(place: Any) -> list[str]:
    with session_scope(place.engine) as session:
        last = cycles.list_all(session)[0].id
    pages = ["/", "/agents", "/agents/rrf", "/cycles", f"/cycles/{last}", "/proposals"]
    pages += ["/proposals/1", "/compositions", "/compositions/1", "/compositions/2"]
    return [*pages, "/compositions/compare?before=1&after=2", "/memory", "/reports", "/audit"]


def test_every_page_is_there_and_obeys_the_policy(proposed: Any) -> None:
    client = proposed.logged_in()
    for path in all_pages(proposed):
        answer = client.get(path)
        assert answer.status_code == 200, path
        page = Page(answer.text)
        for tag, attributes in page.tags:
            assert "style" not in attributes, (path, tag)
            assert not [name for name in attributes if name.startswith("on")], (path, tag)
        assert all((script["src"] or "").startswith("/static/") for script in page.of("script"))
        assert page.of("h1")
        posts = [form for form in page.of("form") if form["method"] == "post"]
        assert len(posts) == answer.text.count('name="csrf"'), path


def test_nothing_is_loaded_from_another_host(proposed: Any) -> None:
    client = proposed.logged_in()
    texts = [client.get(path).text for path in all_pages(proposed)]
    texts += [path.read_text() for path in STATIC.iterdir()]
    for text in texts:
        found = re.findall(r"(?:src|href|url|action)\s*[=(]\s*[\"']?(?:https?:)?//[^\s\"')]+", text)
        assert found == []


@pytest.mark.parametrize(
    "path", ["/", "/agents", "/cycles", "/proposals", "/compositions", "/memory", "/audit"]
)
def test_empty_pages_say_what_to_do(empty_place: Any, path: str) -> None:
    answer = empty_place.logged_in().get(path)
    assert answer.status_code == 200


def test_an_empty_overview_names_the_first_command(empty_place: Any) -> None:
    text = empty_place.logged_in().get("/").text
    assert "Nothing serves yet" in text
    assert "agenticrs demo" in text
    assert "Roll back" not in text


def test_the_overview_shows_what_serves_and_what_waits(proposed: Any) -> None:
    text = proposed.logged_in().get("/").text
    assert "Route cold users" in text
    assert "popularity version 1 reads users" in text
    assert 'href="/compositions/1"' in text


def test_the_overview_tells_when_mlflow_is_away_or_a_load_has_failed(proposed: Any) -> None:
    proposed.tracking.reachable = False
    proposed.serving.refresh()
    client = proposed.logged_in()
    assert "MLflow cannot be reached" in client.get("/").text
    proposed.tracking.reachable = True
    proposed.promote(2)
    proposed.tracking.models["home.itemknn"].versions.clear()
    proposed.serving.refresh()
    assert "cannot be loaded" in client.get("/").text


def test_a_person_approves_with_the_form_and_it_serves(proposed: Any) -> None:
    client = proposed.logged_in()
    token = token_of(client.get("/proposals/1").text)
    form = {"csrf": token, "verdict": "approve", "reason": "better for cold users"}
    answer = client.post("/proposals/1/decide", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/proposals/1")
    text = client.get("/proposals/1").text
    assert "better for cold users" in text
    assert "Approve and serve" not in text
    assert proposed.serving.status.composition == 2


def test_a_person_rejects_and_nothing_changes(proposed: Any) -> None:
    client = proposed.logged_in()
    token = token_of(client.get("/proposals/1").text)
    form = {"csrf": token, "verdict": "reject", "reason": "too slow"}
    assert client.post("/proposals/1/decide", data=form).status_code == 303
    assert "too slow" in client.get("/proposals/1").text
    assert proposed.serving.status.composition == 1


def test_a_person_rolls_back_with_a_reason(proposed: Any) -> None:
    proposed.promote(2)
    proposed.serving.refresh()
    client = proposed.logged_in()
    html = client.get("/").text
    assert '<option value="1">' in html
    form = {"csrf": token_of(html), "to": "1", "reason": "watch time fell"}
    assert client.post("/rollback", data=form).status_code == 303
    assert proposed.serving.status.composition == 1
    with session_scope(proposed.engine) as session:
        assert promotion.history(session, "home")[0].who == "admin"
    assert "watch time fell" in client.get("/audit").text


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_forms_without_the_token_are_refused(proposed: Any, token: str) -> None:
    client = proposed.logged_in()
    form = {"csrf": token, "verdict": "approve", "reason": "r", "to": "1"}
    for path in ("/proposals/1/decide", "/rollback", "/logout"):
        answer = client.post(path, data=form)
        assert answer.status_code == 403, path
        assert "<h1>" in answer.text
    assert proposed.governance.calls == []
    assert client.get("/").status_code == 200, "still logged in"


@pytest.mark.parametrize(
    "changed", [{"reason": "  "}, {"verdict": "maybe"}, {"verdict": "approve", "reason": ""}]
)
def test_decisions_without_reason_or_verdict_are_refused(
    proposed: Any, changed: dict[str, str]
) -> None:
    client = proposed.logged_in()
    token = token_of(client.get("/proposals/1").text)
    form = {"csrf": token, "verdict": "reject", "reason": "r"} | changed
    assert client.post("/proposals/1/decide", data=form).status_code == 403
    assert proposed.governance.calls == []


def test_what_is_stored_cannot_become_markup(proposed: Any) -> None:
    evidence = {
        "reason": ATTACK,
        "reward": {
            "metric": ATTACK,
            **{key: {"mean": 1, "low": 0, "high": 2} for key in ("before", "after", "difference")},
        },
        "guardrails": [{"name": ATTACK, "before": ATTACK, "passed": False}],
        "members": {"added": [ATTACK]},
        "segments": {ATTACK: ATTACK},
        "cost": {"seconds": ATTACK, "trials": ATTACK},
        "users": ATTACK,
        "unsimulated": ATTACK,
        "simulation": {
            "says": ATTACK,
            "objectives": [{"metric": ATTACK, "before": {"mean": ATTACK}}],
            "trust": {"parts": {ATTACK: ATTACK}, "assumed": [ATTACK]},
            "users": ATTACK,
        },
    }
    with session_scope(proposed.engine) as session:
        before = compositions.get(session, "home", 1)
        after = compositions.get(session, "home", 2)
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind=ATTACK,
            dataset=ATTACK,
            fingerprint=ATTACK,
            seed=0,
            request={},
        )
        cycles.begin_step(session, cycle.id or 0, "sense")
        cycles.finish_step(
            session, cycle.id or 0, "sense", {ATTACK: ATTACK}, "failed", error=ATTACK
        )
        trial = trials.propose(
            session,
            cycle_id=cycle.id or 0,
            agent=ATTACK,
            number=0,
            method=ATTACK,
            config={ATTACK: ATTACK},
            seed=0,
            dataset="d",
            fingerprint="f",
            split="s",
        )
        trials.record_failed(session, trial.id or 0, error=ATTACK)
        cycles.finish(session, cycle.id or 0, "failed", ATTACK)
    row = proposed.propose(before, after, title=ATTACK, evidence=evidence)
    client = proposed.logged_in()
    paths = ["/", "/cycles", f"/cycles/{cycle.id}", f"/cycles/{cycle.id}/events", "/proposals"]
    for path in [*paths, f"/proposals/{row.id}", "/audit", f"/login?next=/{ATTACK}"]:
        text = client.get(path).text
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        {"reward": {}},
        {"reward": {"metric": "m", "before": {"mean": 1.0}}},
        {"reward": "none", "guardrails": "none", "members": [], "cost": 3, "segments": None},
        {"guardrails": [{}], "members": {"added": "bpr"}, "score": {}, "users": 0},
        {"simulation": {"says": 1}, "unsimulated": None},
        {"simulation": {"objectives": [3], "trust": {"parts": [], "assumed": 3}, "share": "a"}},
    ],
)
def test_a_proposal_with_partial_evidence_has_its_page(place: Any, evidence: Any) -> None:
    with session_scope(place.engine) as session:
        before = compositions.get(session, "home", 1)
        after = compositions.get(session, "home", 2)
    row = place.propose(before, after, evidence=evidence)
    assert place.logged_in().get(f"/proposals/{row.id}").status_code == 200


def simulation(trust: float, share: float) -> dict[str, Any]:
    estimate = {"mean": 1.1, "low": 1.0, "high": 1.2, "p_value": 0.01}
    compared = {key: estimate for key in ("before", "after", "difference")}
    return {
        "reward": {"metric": "outer reward of simulated users", **compared},
        "objectives": [{"metric": "watch_time", **compared}, {"metric": "risk", **compared}],
        "weights": {"watch_time": 0.75, "risk": 0.25},
        "trust": {
            "score": trust,
            "threshold": 0.7,
            "parts": {"choice": 0.4, "visits": None},
            "ordering": [0.8, 0.2, 1.0],
            "users": 386,
            "assumed": ["how fast moods change"],
        },
        "share": share,
        "says": f"trust {trust:.2f} and what it means",
        "users": 500,
        "days": 5,
    }


@pytest.mark.parametrize(
    ("trust", "share", "told"), [(0.62, 0.0, "inform only"), (0.8, 0.5, "take part")]
)
def test_a_proposal_shows_what_simulated_users_say_and_whether_they_decide(
    place: Any, trust: float, share: float, told: str
) -> None:
    with session_scope(place.engine) as session:
        before = compositions.get(session, "home", 1)
        after = compositions.get(session, "home", 2)
    row = place.propose(before, after, evidence={"simulation": simulation(trust, share)})
    text = place.logged_in().get(f"/proposals/{row.id}").text
    assert told in text
    assert f"trust {trust:.2f} and what it means" in text
    assert "watch time" in text
    assert "how fast moods change" in text
    assert "not measured" in text
    assert "tau 0.8 (0.2 … 1)" in text


def test_a_proposal_says_why_no_simulated_users_were_asked(place: Any) -> None:
    with session_scope(place.engine) as session:
        before = compositions.get(session, "home", 1)
        after = compositions.get(session, "home", 2)
    row = place.propose(before, after, evidence={"unsimulated": "the log is too small"})
    assert "the log is too small" in place.logged_in().get(f"/proposals/{row.id}").text


def test_errors_have_a_page_of_their_own(proposed: Any) -> None:
    client = proposed.logged_in()
    for path in ("/proposals/999", "/agents/nobody", "/compositions/999", "/nothing"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "<h1>" in answer.text


def test_login_renews_the_session_and_logout_ends_every_copy_of_it(place: Any) -> None:
    from agenticrs.ui.api.sessions import COOKIE, LOGIN_COOKIE

    client = place.client()
    first = client.get("/login")
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    before = client.cookies[LOGIN_COOKIE]
    form = {"name": "admin", "password": "correct horse battery", "csrf": token_of(first.text)}
    answer = client.post("/login", data=form | {"next": "/audit"})
    assert answer.headers["location"] == "/audit"
    cookie = client.cookies[COOKIE]
    assert cookie != before
    assert client.post("/logout", data={"csrf": token_of(client.get("/").text)}).status_code == 303
    client.cookies.set(COOKIE, cookie)
    assert client.get("/").status_code == 303


def test_the_cookie_is_secure_where_the_page_is(place: Any) -> None:
    client = place.client()
    assert "secure" not in client.get("/login").headers["set-cookie"].lower()
    client.base_url = "https://127.0.0.1"
    assert "secure" in client.get("/login").headers["set-cookie"].lower()


def test_a_wrong_password_says_so_and_too_many_are_refused(place: Any) -> None:
    client = place.client()
    for expected in [401] * 5 + [429]:
        form = {"name": "admin", "password": "wrong", "csrf": token_of(client.get("/login").text)}
        assert client.post("/login", data=form).status_code == expected


def test_a_login_form_of_somebody_else_does_not_log_in(place: Any) -> None:
    stranger, victim = place.client(), place.client()
    form = {"name": "admin", "password": "correct horse battery"}
    form["csrf"] = token_of(stranger.get("/login").text)
    victim.get("/login")
    assert victim.post("/login", data=form).status_code == 403


@pytest.mark.parametrize(
    ("target", "to"),
    [
        ("/audit", "/audit"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("", "/"),
        ("/a\nb", "/"),
    ],
)
def test_the_login_leads_to_our_own_pages_only(target: str, to: str) -> None:
    assert inside(target) == to


def test_a_removed_account_is_logged_out(place: Any) -> None:
    from agenticrs.registry.tables import AccountRow

    client = place.logged_in()
    with session_scope(place.engine) as session:
        session.delete(session.get(AccountRow, "admin"))
    assert client.get("/").status_code == 303


def running_cycle(place: Any) -> int:
    with session_scope(place.engine) as session:
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="generated",
            fingerprint="f" * 16,
            seed=0,
            request={},
        )
        cycles.begin_step(session, cycle.id or 0, "sense")
        return cycle.id or 0


def test_a_running_cycle_reloads_without_javascript_and_a_finished_one_does_not(
    place: Any,
) -> None:
    number = running_cycle(place)
    client = place.logged_in()
    text = client.get(f"/cycles/{number}").text
    assert '<noscript><meta http-equiv="refresh"' in text
    assert f'data-events="/cycles/{number}/events"' in text
    with session_scope(place.engine) as session:
        cycles.finish(session, number, "done")
    text = client.get(f"/cycles/{number}").text
    assert "refresh" not in text
    assert "live.js" not in text


def test_events_bring_each_change_and_end_with_the_cycle(place: Any) -> None:
    number = running_cycle(place)
    client = place.logged_in()

    def work() -> None:
        with session_scope(place.engine) as session:
            cycles.finish_step(session, number, "sense", {"new": 7})
            cycles.begin_step(session, number, "plan")
        with session_scope(place.engine) as session:
            cycles.finish(session, number, "failed", "plan: no agent")

    working = threading.Timer(0.2, work)
    working.start()
    answer = client.get(f"/cycles/{number}/events")
    working.join()
    assert answer.headers["content-type"].startswith("text/event-stream")
    messages = answer.text.split("\n\n")
    assert "sense" in messages[0]
    assert "plan: no agent" in answer.text
    assert messages[-2] == "event: end\ndata: end"


@pytest.mark.parametrize("gone", ["logged out", "too old"])
def test_events_end_with_the_session(
    place: Any, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    number = running_cycle(place)
    client = place.logged_in()
    looks = 0

    def values(engine: Any, cycle_id: int, page: int) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        if looks == 1 and gone == "logged out":
            store = client.app.state.sessions
            store.end(store.read(client.cookies[sessions.COOKIE]))
        if looks == 1 and gone == "too old":
            monkeypatch.setattr(sessions, "LIFETIME", -1)
        if looks == 4:
            with session_scope(engine) as session:
                cycles.finish(session, cycle_id, "done")
        return cycle_values(engine, cycle_id, page)

    monkeypatch.setattr(live, "cycle_values", values)
    answer = client.get(f"/cycles/{number}/events")
    assert answer.status_code == 200
    assert looks == 1, "nothing more is looked up for somebody who is gone"
