"""Every route as every role. The table is made from the app: a new route is in it at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fastapi import FastAPI, routing
from fastapi.testclient import TestClient
from starlette.responses import JSONResponse
from starlette.routing import Mount
from tests.ui.conftest import build_place

from agenticrs.platform.database import session_scope
from agenticrs.registry import accounts, tokens
from agenticrs.registry.roles import ROLES, SCOPES, Role, Scope, includes
from agenticrs.ui.api.app import create_app
from agenticrs.ui.api.people import CSRF_HEADER, OPEN, SAFE, Needs
from agenticrs.ui.api.sessions import COOKIE, Sessions

Call = tuple[str, str]
FOR_ALL = {("POST", "/logout"), ("POST", "/theme"), ("POST", "/account/password")}
"""Changes that a viewer may make: of their own session, colours and password."""
STRONGEST: Mapping[Call, Role] = {
    ("POST", "/v1/proposals/{proposal_id}/approve"): "approver",
    ("POST", "/v1/proposals/{proposal_id}/reject"): "approver",
    ("POST", "/v1/canary/answer"): "approver",
    ("POST", "/v1/experiments/{number}/stop"): "approver",
    ("POST", "/v1/experiments"): "operator",
    ("POST", "/v1/experiments/{number}/observations"): "operator",
    ("POST", "/experiments"): "operator",
    ("POST", "/experiments/{number}/observe"): "operator",
    ("POST", "/v1/objectives/{number}/approve"): "approver",
    ("POST", "/v1/objectives/{number}/reject"): "approver",
    ("POST", "/v1/objectives/reset"): "approver",
    ("POST", "/v1/rollback"): "operator",
    ("POST", "/proposals/{proposal_id}/decide"): "approver",
    ("POST", "/canary/answer"): "approver",
    ("POST", "/experiments/{number}/stop"): "approver",
    ("POST", "/objectives/{number}/decide"): "approver",
    ("POST", "/objectives/reset"): "approver",
    ("POST", "/rollback"): "operator",
    ("POST", "/policies"): "admin",
    ("POST", "/v1/policies"): "admin",
    ("GET", "/people"): "admin",
    ("POST", "/people/{name}/change"): "admin",
    ("POST", "/tokens/create"): "admin",
    ("POST", "/v1/tokens"): "admin",
}
"""What must not become weaker by a slip."""


def contexts(app: FastAPI) -> Iterator[tuple[Call, Any]]:
    for route in routing.iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            assert route.path == "/static", "files of another kind need a rule of their own"
            continue
        for method in sorted((route.methods or set()) - {"HEAD", "OPTIONS"}):
            yield (method, str(route.path)), getattr(route, "dependant", None)


def needed(dependant: Any) -> Role | None:
    """The strongest role that a route's dependencies ask for."""
    if dependant is None:
        return None
    found = [needed(inner) for inner in dependant.dependencies]
    if isinstance(dependant.call, Needs):
        found.append(dependant.call.role)
    return max((role for role in found if role), key=ROLES.index, default=None)


def table(app: FastAPI) -> dict[Call, Role | None]:
    return {call: needed(dependant) for call, dependant in contexts(app)}


def address(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "1", path)


def ask(client: TestClient, call: Call, **told: Any) -> str:
    """nobody, refused or reached: what the app says before it does anything."""
    answer = client.request(call[0], address(call[1]), **told)
    if answer.status_code == 401 or answer.headers.get("location", "").startswith("/login"):
        return "nobody"
    if answer.status_code == 403 and "this needs the role" in answer.text:
        return "refused"
    # A body that is not there is looked at only after the role.
    assert answer.status_code in (200, 422), (call, answer.status_code, answer.text)
    return "reached"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The real app on an empty place, with an account for each role."""
    place = build_place(tmp_path_factory.mktemp("matrix"), requests_per_minute=0)
    with session_scope(place.engine) as session:
        for role in ROLES:
            accounts.enter(session, f"a-{role}", f"test {role}", role)
    made = create_app(place.app_dependencies())
    made.state.place = place
    yield made
    place.engine.dispose()


@pytest.fixture
def app(built: FastAPI, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The same, whose routes do nothing when they are reached."""

    async def reached(**_: Any) -> JSONResponse:
        return JSONResponse({})

    monkeypatch.setattr(routing, "run_endpoint_function", reached)
    return built


def client_of(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


def logged_in(app: FastAPI, role: str) -> TestClient:
    sessions: Sessions = app.state.sessions
    session, cookie = sessions.begin(f"a-{role}")
    client = client_of(app)
    client.cookies.set(COOKIE, cookie)
    client.headers[CSRF_HEADER] = session.csrf
    return client


def test_every_route_names_a_role_or_is_open(app: FastAPI) -> None:
    found = table(app)
    silent = {call for call, role in found.items() if role is None}
    assert silent == OPEN, "give a new route a role (ui/api/people.py), or list it in OPEN"
    assert len(found) > 30


def test_a_change_needs_more_than_a_viewer(app: FastAPI) -> None:
    found = table(app)
    weak = {
        call
        for call, role in found.items()
        if call[0] not in SAFE and role == "viewer" and call not in FOR_ALL
    }
    assert weak == set()
    assert {call: found[call] for call in STRONGEST} == STRONGEST


def test_nobody_reaches_only_what_is_open(app: FastAPI) -> None:
    client = client_of(app)
    for call in table(app):
        expected = "reached" if call in OPEN else "nobody"
        assert ask(client, call) == expected, call


@pytest.mark.parametrize("role", ROLES)
def test_a_person_reaches_what_their_role_includes(app: FastAPI, role: Role) -> None:
    client = logged_in(app, role)
    for call, wanted in table(app).items():
        enough = wanted is None or includes(role, wanted)
        assert ask(client, call) == ("reached" if enough else "refused"), call


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_reads_and_does_what_its_scope_names_and_nothing_else(
    app: FastAPI, scope: Scope
) -> None:
    with session_scope(app.state.place.engine) as session:
        _, text = tokens.issue(
            session, owner="a-admin", name="test", scopes=[scope], days=1, who="test"
        )
    client = client_of(app)
    client.headers["Authorization"] = f"Bearer {text}"
    for call, wanted in table(app).items():
        enough = wanted is None or _named(app, call) <= {"viewer", SCOPES[scope]}
        assert ask(client, call) == ("reached" if enough else "refused"), call


def _named(app: FastAPI, call: Call) -> set[Role]:
    """All roles that a route's dependencies name: a token needs a scope for each but the first."""
    dependant = next(found for this, found in contexts(app) if this == call)

    def roles(one: Any) -> set[Role]:
        own = {one.call.role} if isinstance(one.call, Needs) else set()
        return own.union(*(roles(inner) for inner in one.dependencies))

    return roles(dependant)


def test_a_cookie_without_its_token_changes_nothing(app: FastAPI) -> None:
    client = logged_in(app, "admin")
    del client.headers[CSRF_HEADER]
    changes = [c for c in table(app) if c[0] not in SAFE and c not in OPEN]
    for method, path in changes:
        if path.startswith("/v1/"):
            answer = client.request(method, address(path))
            assert answer.status_code == 403, path
            assert "token is missing" in answer.text


def test_every_form_of_the_console_has_a_token(app: FastAPI) -> None:
    for (method, path), dependant in contexts(app):
        if method not in SAFE and not path.startswith("/v1/"):
            assert "csrf" in {field.name for field in dependant.body_params}, path


def test_forms_without_the_token_are_refused_before_anything_happens(built: FastAPI) -> None:
    client = logged_in(built, "admin")
    for method, path in table(built):
        if method not in SAFE and not path.startswith("/v1/"):
            answer = client.request(method, address(path), data={"csrf": "0" * 64})
            assert answer.status_code in (403, 422), path
