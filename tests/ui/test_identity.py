"""Logging in with OpenID Connect, against a provider that runs as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest
from fastapi.testclient import TestClient
from tests.identity_provider import CLIENT, SECRET
from tests.ui.conftest import Place, build_place

from agenticrs.platform.database import session_scope
from agenticrs.registry import accounts, audit
from agenticrs.ui.api.sessions import COOKIE

PROVIDER = Path(__file__).parents[1] / "identity_provider.py"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, PROVIDER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def place(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = build_place(
        tmp_path_factory.mktemp("identity"),
        oidc_issuer=issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,
        oidc_roles="staff=viewer,oncall=operator,owners=admin",
    )
    yield made
    made.engine.dispose()


class _Stays(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Not followed: the browser of the test goes there by itself."""


def leave(client: TestClient, **told: str) -> str:
    """Go to the provider as a browser does; return the address that it sends back to."""
    away = client.get("/login/provider", params={"next": "/audit"})
    assert away.status_code == 303
    try:
        build_opener(_Stays).open(Request(f"{away.headers['location']}&{urlencode(told)}"))
    except HTTPError as answer:  # a redirect that is not followed counts as an error
        address = urlsplit(answer.headers["Location"])
        answer.close()
        return f"{address.path}?{address.query}"
    raise AssertionError("the provider sent nobody back")


def test_the_login_page_leads_to_the_provider(place: Place) -> None:
    assert "/login/provider?next=" in place.client().get("/login").text


def test_somebody_comes_back_with_the_role_of_their_groups(place: Place) -> None:
    client = place.client()
    answer = client.get(leave(client, user="ada", groups="staff oncall"))
    assert answer.status_code == 200, answer.text
    assert 'content="0; url=/audit"' in answer.text
    cookie = answer.headers["set-cookie"].lower()
    assert "samesite=strict" in cookie
    assert "httponly" in cookie
    page = client.get("/account").text
    assert "<b>ada</b>" in page
    assert "<b>operator</b>" in page
    with session_scope(place.engine) as session:
        assert accounts.get(session, "ada").subject == f"{place.settings.oidc_issuer} id-of-ada"
        assert audit.entries(session, 1)[0].who == "identity provider"
    assert client.get(leave(client, user="ada", groups="staff")).status_code == 200
    assert "<b>viewer</b>" in client.get("/account").text, "the provider says it anew each time"


@pytest.mark.parametrize("flaw", ["issuer", "audience", "expired", "nonce", "key", "unsigned"])
def test_a_token_that_does_not_hold_lets_nobody_in(place: Place, flaw: str) -> None:
    client = place.client()
    answer = client.get(leave(client, user="eve", groups="owners", flaw=flaw))
    assert answer.status_code == 401, answer.text
    assert COOKIE not in client.cookies
    with session_scope(place.engine) as session:
        assert "eve" not in {row.name for row in accounts.list_all(session)}


def test_the_answer_of_another_login_is_refused(place: Place) -> None:
    attacker, victim = place.client(), place.client()
    address = leave(attacker, user="eve", groups="owners")
    leave(victim, user="ada")
    assert victim.get(address).status_code == 401, "its state is not this browser's"
    assert place.client().get(address).status_code == 401, "nor was it begun here"
    assert attacker.get(address.replace("state=", "state=x")).status_code == 401
    asked = parse_qs(urlsplit(address).query)
    assert attacker.get(address.replace(asked["code"][0], "guessed")).status_code == 401


def test_a_code_is_worth_nothing_twice(place: Place) -> None:
    client = place.client()
    cookie_of = dict(client.cookies)
    address = leave(client, user="ada")
    kept = dict(client.cookies)
    assert client.get(address).status_code == 200
    again = place.client()
    for name, value in {**cookie_of, **kept}.items():
        again.cookies.set(name, value)
    assert again.get(address).status_code == 401


def test_who_has_no_mapped_group_or_the_name_of_another_account_gets_nothing(
    place: Place,
) -> None:
    client = place.client()
    answer = client.get(leave(client, user="guest", groups="visitors"))
    assert answer.status_code == 403
    assert "has no role here" in answer.text
    answer = client.get(leave(client, user="admin", groups="owners"))
    assert answer.status_code == 409, "the account admin is another one's"
    assert COOKIE not in client.cookies


def test_a_provider_that_is_away_is_said_and_passwords_go_on(tmp_path: Path) -> None:
    place = build_place(tmp_path, oidc_issuer="http://127.0.0.1:9", oidc_client_id=CLIENT)
    answer = place.client().get("/login/provider")
    assert answer.status_code == 503
    assert "cannot be asked" in answer.text
    assert place.logged_in().get("/").status_code == 200
    place.engine.dispose()
