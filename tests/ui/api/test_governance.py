"""Who may do what: a login for everything but serving, a token for changes with a cookie."""

from __future__ import annotations

import base64
import stat
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, TrackingError
from agenticrs.registry import audit, proposals

OPEN = ["/healthz", "/metrics", "/v1/recommend?user_id=u", "/v1/openapi.json", "/login"]
READ = [
    "/v1/agents",
    "/v1/agents/rrf",
    "/v1/cycles",
    "/v1/cycles/1",
    "/v1/proposals",
    "/v1/proposals/1",
    "/v1/versions",
    "/v1/audit",
    "/v1/feedback",
]
CHANGE = ["/v1/proposals/1/approve", "/v1/proposals/1/reject", "/v1/rollback"]
PAGES = ["/", "/agents", "/agents/rrf", "/cycles", "/cycles/1", "/cycles/1/events", "/proposals"]
PAGES += ["/proposals/1", "/compositions/1", "/audit"]


def basic(name: str, password: str) -> dict[str, str]:
    word = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {word}"}


ADMIN = basic("admin", "correct horse battery")


@pytest.fixture
def proposed(place: Any) -> Any:
    first = place.serving.loaded.composition
    assert first == 1
    from agenticrs.registry import compositions

    with session_scope(place.engine) as session:
        before = compositions.get(session, "home", 1)
        after = compositions.get(session, "home", 2)
    place.propose(before, after)
    return place


def test_open_paths_need_no_login(proposed: Any) -> None:
    client = proposed.client()
    assert {path: client.get(path).status_code for path in OPEN} == dict.fromkeys(OPEN, 200)


def test_reading_needs_a_login(proposed: Any) -> None:
    client = proposed.client()
    assert {path: client.get(path).status_code for path in READ} == dict.fromkeys(READ, 401)
    assert "Basic" in client.get("/v1/agents").headers["www-authenticate"]


def test_changing_needs_a_login(proposed: Any) -> None:
    client = proposed.client()
    body = {"reason": "because"}
    found = {path: client.post(path, json=body).status_code for path in CHANGE}
    assert found == dict.fromkeys(CHANGE, 401)
    assert proposed.governance.calls == []


def test_pages_send_strangers_to_the_login_and_back(proposed: Any) -> None:
    client = proposed.client()
    for path in PAGES:
        answer = client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=/")


@pytest.mark.parametrize("how", ["cookie", "basic"])
def test_with_a_login_everything_can_be_read(proposed: Any, how: str) -> None:
    client = proposed.logged_in() if how == "cookie" else proposed.client()
    headers = {} if how == "cookie" else ADMIN
    found = {path: client.get(path, headers=headers).status_code for path in READ}
    assert found == dict.fromkeys(READ, 200)


def test_a_cookie_alone_changes_nothing(proposed: Any) -> None:
    client = proposed.logged_in()
    for path in CHANGE:
        assert client.post(path, json={"reason": "because"}).status_code == 403
    headers = {"X-CSRF-Token": "0" * 64}
    answer = client.post(CHANGE[0], json={"reason": "because"}, headers=headers)
    assert answer.status_code == 403
    assert proposed.governance.calls == []


def test_a_cookie_with_its_token_approves_and_it_serves(proposed: Any) -> None:
    client = proposed.logged_in()
    from agenticrs.ui.api.sessions import COOKIE

    sessions = client.app.state.sessions
    token = sessions.read(client.cookies[COOKIE]).csrf
    answer = client.post(
        "/v1/proposals/1/approve", json={"reason": " better "}, headers={"X-CSRF-Token": token}
    )
    assert answer.status_code == 200
    assert answer.json()["decisions"][0]["reason"] == "better"
    assert proposed.governance.calls == [("approve", 1, "admin", "better")]
    assert client.get("/v1/recommend?user_id=u").json()["composition"] == 2


def test_a_script_decides_with_basic_and_rolls_back(proposed: Any) -> None:
    client = proposed.client()
    body = {"reason": "better"}
    assert client.post(CHANGE[0], json=body, headers=ADMIN).status_code == 200
    again = client.post(CHANGE[0], json=body, headers=ADMIN)
    assert again.status_code == 409
    assert "no longer waits" in again.json()["error"]
    answer = client.post("/v1/rollback", json={"reason": "worse"}, headers=ADMIN)
    assert answer.json() == {"composition": 1}
    assert client.get("/v1/recommend?user_id=u").json()["composition"] == 1


def test_what_is_stale_is_refused_with_what_to_do(proposed: Any) -> None:
    proposed.promote(2, key="by-hand")
    answer = proposed.client().post(CHANGE[0], json={"reason": "better"}, headers=ADMIN)
    assert answer.status_code == 409
    assert "compared with composition 1, but composition 2 serves now" in answer.json()["error"]
    assert "evolve again" in answer.json()["hint"]


def test_what_was_rejected_cannot_be_served_by_calling_it_a_rollback(proposed: Any) -> None:
    client, body = proposed.client(), {"reason": "too slow"}
    assert client.post(CHANGE[1], json=body, headers=ADMIN).status_code == 200
    answer = client.post("/v1/rollback", json={"reason": "I like it", "to": 2}, headers=ADMIN)
    assert answer.status_code == 403
    assert "has never served" in answer.json()["error"]
    assert proposed.serving.status.composition == 1


@pytest.mark.parametrize("reason", ["", "   ", "x" * 2001])
def test_a_decision_needs_a_reason_of_a_sane_length(proposed: Any, reason: str) -> None:
    answer = proposed.client().post(CHANGE[1], json={"reason": reason}, headers=ADMIN)
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"] == "reason"


def test_what_does_not_exist_is_404_with_a_hint(proposed: Any) -> None:
    client = proposed.client()
    for path in ("/v1/agents/nobody", "/v1/cycles/999", "/v1/proposals/999"):
        answer = client.get(path, headers=ADMIN)
        assert answer.status_code == 404
        assert answer.json()["hint"]
    assert client.get("/v1/cycles/0", headers=ADMIN).status_code == 422


@pytest.mark.parametrize(
    ("error", "status"), [(Conflict("busy"), 409), (TrackingError("MLflow is away"), 503)]
)
def test_errors_of_the_platform_have_their_status(
    proposed: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def refuse(**_: Any) -> None:
        raise error

    monkeypatch.setattr(proposed.governance, "rollback", refuse)
    answer = proposed.client().post("/v1/rollback", json={"reason": "r"}, headers=ADMIN)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "hint"}


def test_what_nobody_intended_is_500_without_a_trace_of_the_inside(
    proposed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(**_: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(proposed.governance, "rollback", explode)
    answer = proposed.client().post("/v1/rollback", json={"reason": "r"}, headers=ADMIN)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(("path", "form"), [("/v1/proposals", "json"), ("/proposals", "html")])
def test_a_database_that_does_not_answer_is_503_for_programs_and_people(
    proposed: Any, monkeypatch: pytest.MonkeyPatch, path: str, form: str
) -> None:
    client = proposed.client()

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT secret", {}, Exception("the connection is closed"))

    with monkeypatch.context() as outage:
        outage.setattr(proposals, "list_all", away)
        answer = client.get(path, headers=ADMIN)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert form in answer.headers["content-type"]
    assert "the database does not answer now" in answer.text
    assert "secret" not in answer.text
    assert client.get(path, headers=ADMIN).status_code == 200


def test_wrong_passwords_are_counted_until_nobody_listens(proposed: Any) -> None:
    client = proposed.client()
    wrong = basic("admin", "wrong password")
    codes = [client.get("/v1/agents", headers=wrong).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    refused = client.get("/v1/agents", headers=ADMIN)
    assert refused.status_code == 429, "not even the right one, from this address"
    assert 0 < int(refused.headers["retry-after"]) <= 301
    assert "agenticrs_login_failures_total 5.0" in client.get("/metrics").text


def test_a_password_typed_as_a_name_is_not_kept(proposed: Any) -> None:
    proposed.client().get("/v1/agents", headers=basic("hunter2-my-password", "x"))
    with session_scope(proposed.engine) as session:
        entry = audit.entries(session, 1)[0]
    assert entry.action == "login failed"
    assert "hunter2" not in entry.model_dump_json()


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic YWRtaW4=", "Bearer x"])
def test_malformed_credentials_are_no_credentials(proposed: Any, header: str) -> None:
    answer = proposed.client().get("/v1/agents", headers={"Authorization": header})
    assert answer.status_code == 401


def test_another_sites_page_changes_nothing_even_with_cached_basic(proposed: Any) -> None:
    client = proposed.client()
    for told in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
    ):
        answer = client.post(CHANGE[0], json={"reason": "r"}, headers={**ADMIN, **told})
        assert answer.status_code == 403
    assert proposed.governance.calls == []


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", ""])
def test_a_name_that_was_rebound_to_us_is_refused(proposed: Any, host: str) -> None:
    answer = proposed.client().get("/healthz", headers={"Host": host})
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["localhost:8321", "127.0.0.1:8321", "[::1]:8321", "10.1.2.3"])
def test_addresses_and_localhost_are_ours(proposed: Any, host: str) -> None:
    assert proposed.client().get("/healthz", headers={"Host": host}).status_code == 200


def test_every_answer_forbids_frames_sniffing_and_foreign_sources(proposed: Any) -> None:
    client = proposed.client()
    for path in ("/login", "/v1/agents", "/healthz", "/static/style.css", "/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_key_of_the_cookies_is_made_once_and_private(proposed: Any) -> None:
    from agenticrs.ui.api.sessions import session_key

    first = session_key(proposed.settings.home)
    path = proposed.settings.home / "run" / "session.key"
    assert session_key(proposed.settings.home) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_schema_describes_every_path_of_the_api(proposed: Any) -> None:
    paths = proposed.client().get("/v1/openapi.json").json()["paths"]
    for path in (*READ, *CHANGE):
        general = path.replace("/1", "/{proposal_id}" if "proposals" in path else "/{cycle_id}")
        assert general.replace("/rrf", "/{name}") in paths
