"""People, tokens, policies and decisions by console and API: the same rules at every door."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from agenticrs.platform.database import session_scope
from agenticrs.registry import accounts, audit, compositions, policies, proposals
from agenticrs.registry.policies import Policy
from agenticrs.ui.api.people import CSRF_HEADER
from agenticrs.ui.api.sessions import COOKIE, Sessions

ATTACK = "<script>alert(1)</script>"
PASSWORD = "correct horse battery"


@pytest.fixture
def staffed(place: Any) -> Any:
    """A proposal waits; beside admin there are people of every role."""
    with session_scope(place.engine) as session:
        for role in ("viewer", "operator", "approver"):
            accounts.create(session, f"a-{role}", PASSWORD, role)
        accounts.create(session, "b-approver", PASSWORD, "approver")
        before = compositions.get(session, "home", 1)
        after = compositions.get(session, "home", 2)
    place.propose(before, after, title="Route cold users", proposed_by="admin")
    return place


def browser(place: Any, name: str) -> TestClient:
    """Somebody who has logged in, and sends the session's token with changes of the API."""
    client: TestClient = place.client()
    sessions: Sessions = client.app.state.sessions  # type: ignore[attr-defined]
    session, cookie = sessions.begin(name)
    client.cookies.set(COOKIE, cookie)
    client.headers[CSRF_HEADER] = session.csrf
    return client


def form(client: TestClient, **values: Any) -> dict[str, Any]:
    return {"csrf": client.headers[CSRF_HEADER], **values}


def state(place: Any) -> str:
    with session_scope(place.engine) as session:
        return proposals.get(session, 1).state


def want_two(place: Any) -> None:
    with session_scope(place.engine) as session:
        policies.write(session, Policy(otherwise=2), replaces=0, who="admin", reason="care")


def test_two_people_approve_one_by_console_and_one_by_api_and_it_serves(staffed: Any) -> None:
    want_two(staffed)
    one, other = browser(staffed, "a-approver"), browser(staffed, "b-approver")
    text = one.get("/proposals/1").text
    assert "0 of 2 needed approvals" in text
    data = form(one, verdict="approve", reason="good for cold users")
    assert one.post("/proposals/1/decide", data=data).status_code == 303
    assert state(staffed) == "waiting"
    assert "1 of 2 needed approvals" in other.get("/proposals/1").text
    told = other.get("/v1/proposals/1").json()
    assert (told["approvals_given"], told["approvals_needed"]) == (1, 2)
    assert staffed.serving.status.composition == 1
    answer = other.post("/v1/proposals/1/approve", json={"reason": "I agree"})
    assert answer.status_code == 200, answer.text
    assert staffed.serving.status.composition == 2


def test_who_asked_for_a_change_may_not_approve_it_at_any_door(staffed: Any) -> None:
    client = browser(staffed, "admin")
    page = client.get("/proposals/1").text
    assert "somebody else must approve it" in page
    assert 'value="approve"' not in page
    data = form(client, verdict="approve", reason="mine")
    assert client.post("/proposals/1/decide", data=data).status_code == 403
    answer = client.post("/v1/proposals/1/approve", json={"reason": "mine"})
    assert answer.status_code == 403
    assert "somebody else" in answer.json()["error"]
    assert state(staffed) == "waiting"


def test_changes_are_requested_and_comments_made_with_their_words_on_the_page(
    staffed: Any,
) -> None:
    operator, approver = browser(staffed, "a-operator"), browser(staffed, "a-approver")
    data = form(operator, reason=f"what about latency? {ATTACK}")
    assert operator.post("/proposals/1/comment", data=data).status_code == 303
    page = operator.get("/proposals/1").text
    assert "what about latency?" in page
    assert ATTACK not in page
    assert 'name="verdict"' not in page, "an operator sees no buttons to decide"
    answer = approver.post("/v1/proposals/1/request-changes", json={"reason": "keep it short"})
    assert answer.json()["state"] == "changes requested"
    assert "keep it short" in approver.get("/proposals/1").text


def test_an_admin_writes_a_policy_by_the_page_and_nonsense_is_explained(staffed: Any) -> None:
    client = browser(staffed, "admin")
    page = client.get("/policies").text
    assert "The default" in page
    for content, says in (
        ("{", "not valid JSON"),
        ('{"otherwise": 0}', "otherwise"),
        ('{"rules": [{"changes": ["composition"], "risk": "low", "approvals": 0}]}', "a person"),
    ):
        answer = client.post("/policies", data=form(client, content=content, reason="r"))
        assert answer.status_code == 403
        assert says in answer.text
    data = form(client, content='{"otherwise": 1}', reason=ATTACK, replaces=0)
    assert client.post("/policies", data=data).status_code == 303
    page = client.get("/policies").text
    assert "Version 1" in page
    assert ATTACK not in page
    assert client.post("/policies", data=data).status_code == 409, "version 0 is old by now"
    assert client.get("/v1/policies").json()["version"] == 1
    wanted = {"policy": {"otherwise": 2}, "replaces": 1, "reason": "care"}
    assert client.post("/v1/policies", json=wanted).json()["version"] == 2
    assert [row["version"] for row in client.get("/v1/policies/history").json()] == [2, 1]
    viewer = browser(staffed, "a-viewer")
    assert 'name="content"' not in viewer.get("/policies").text


def test_an_admin_adds_somebody_who_logs_in_and_is_put_out(staffed: Any) -> None:
    client = browser(staffed, "admin")
    page = client.post("/people/add", data=form(client, name="eve", role="operator")).text
    found = re.search(r"password of eve.*?<code>([^<]+)</code>", page, re.DOTALL)
    assert found is not None
    assert found.group(1) not in client.get("/people").text, "it is shown once"
    word = base64.b64encode(f"eve:{found.group(1)}".encode()).decode()
    script = staffed.client()
    script.headers["Authorization"] = f"Basic {word}"
    assert script.get("/v1/proposals").status_code == 200
    eve = browser(staffed, "eve")
    data = form(client, what="close", reason="gone")
    assert client.post("/people/eve/change", data=data).status_code == 303
    assert eve.get("/").status_code == 303, "logged out at once"
    assert script.get("/v1/proposals").status_code == 401
    data = form(client, what="role", role="viewer", reason="r")
    answer = client.post("/people/admin/change", data=data)
    assert answer.status_code == 403
    assert "last admin" in answer.text


def test_a_token_is_shown_once_works_within_its_scopes_and_is_revoked(staffed: Any) -> None:
    client = browser(staffed, "admin")
    data = form(client, name=f"ci {ATTACK}", owner="a-approver", scopes=["read", "approve"])
    page = client.post("/tokens/create", data=data).text
    assert ATTACK not in page
    found = re.search(r"<code>(agrs_[^<]+)</code>", page)
    assert found is not None
    assert found.group(1) not in client.get("/people").text
    script = staffed.client()
    script.headers["Authorization"] = f"Bearer {found.group(1)}"
    assert script.post("/v1/rollback", json={"reason": "r"}).status_code == 403, "no scope for it"
    assert script.post("/v1/proposals/1/approve", json={"reason": "ok"}).status_code == 200
    assert staffed.governance.calls[-1][2] == "a-approver", "a token counts as its owner"
    (token,) = client.get("/v1/tokens").json()
    assert token["state"] == "active"
    assert client.post(f"/v1/tokens/{token['id']}/revoke").json()["state"] == "revoked"
    assert script.get("/v1/proposals").status_code == 401


def test_everybody_changes_their_own_password_and_is_logged_out_everywhere(staffed: Any) -> None:
    here, there = browser(staffed, "a-viewer"), browser(staffed, "a-viewer")
    wrong = form(here, password="wrong", new="another long one")
    assert here.post("/account/password", data=wrong).status_code in (303, 401)
    assert there.get("/account").status_code == 200
    right = form(here, password=PASSWORD, new="another long one")
    assert here.post("/account/password", data=right).headers["location"] == "/login"
    assert there.get("/account").status_code == 303
    with session_scope(staffed.engine) as session:
        assert accounts.verify(session, "a-viewer", "another long one")


def test_a_session_that_somebody_planted_is_not_the_one_after_login(staffed: Any) -> None:
    """Session fixation: what a browser brings along never becomes a session that counts."""
    attacker = browser(staffed, "a-viewer")
    planted = attacker.cookies[COOKIE]
    victim = staffed.client()
    victim.cookies.set(COOKIE, planted, domain="127.0.0.1", path="/")
    page = victim.get("/login").text
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found is not None
    data = {"name": "admin", "password": PASSWORD, "csrf": found.group(1)}
    answer = victim.post("/login", data=data)
    assert answer.status_code == 303, answer.text
    assert victim.cookies[COOKIE] != planted
    assert attacker.get("/").status_code == 303, "what was planted ends with the login"


@pytest.mark.parametrize("path", ["/v1/audit?who={}", "/v1/agents/{}", "/audit?about={}"])
def test_what_looks_like_sql_is_a_word_to_look_for(staffed: Any, path: str) -> None:
    client = browser(staffed, "admin")
    for word in ("' OR '1'='1", "x'; DROP TABLE account; --", "%' UNION SELECT password --"):
        answer = client.get(path.format(word.replace("%", "%25").replace(" ", "%20")))
        assert answer.status_code in (200, 404)
        assert "argon2" not in answer.text
    assert [p["name"] for p in client.get("/v1/people").json()][-1] == "b-approver"


def test_the_chain_is_checked_by_api(staffed: Any) -> None:
    client = browser(staffed, "a-viewer")
    found = client.get("/v1/audit/verify").json()
    assert (found["broken"], found["problem"]) == (None, "")
    with session_scope(staffed.engine) as session:
        assert found["digest"] == audit.entries(session, 1)[0].digest


@pytest.mark.parametrize("path", ["/people/x/change", "/v1/people", "/v1/policies", "/policies"])
def test_bodies_that_are_too_large_are_refused_before_they_are_read(
    staffed: Any, path: str
) -> None:
    client = browser(staffed, "admin")
    assert client.post(path, content=b"x" * 2_000_001).status_code == 413

    def endless() -> Any:
        for _ in range(40):
            yield b"x" * 60_000

    kind = "application/json" if path.startswith("/v1/") else "application/x-www-form-urlencoded"
    answer = client.post(path, content=endless(), headers={"content-type": kind})
    assert answer.status_code == 413
