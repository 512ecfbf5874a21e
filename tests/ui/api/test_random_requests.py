"""Random and broken requests to every operation of the API: none is answered otherwise than said.

``schemathesis`` makes them out of the OpenAPI document: the limits of every field and what lies
beyond them, wrong types, missing and unknown fields, other methods, and random ones. Each answer is
held against the document: its status, its content type, its headers, its body. More of them:
``HYPOTHESIS_PROFILE=search pytest -m slow tests/ui/api/test_random_requests.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis.generation.hypothesis.builder import (
    HypothesisTestConfig,
    HypothesisTestMode,
    create_test,
)
from schemathesis.python import asgi
from schemathesis.specs.openapi import checks
from tests.ui.conftest import build_place
from tests.ui.console.lived_in import live_in

from agenticrs.platform.database import session_scope
from agenticrs.registry import accounts, tokens
from agenticrs.ui.api.app import create_app
from agenticrs.ui.api.people import CSRF_HEADER
from agenticrs.ui.api.sessions import COOKIE, Sessions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BASE = "http://127.0.0.1"
ASKS = "who asks in the test of random requests"
"""Nobody changes this account by chance."""
LEFT_OUT = [
    # "5" is read as 5, and a cron line that is none is refused, which no schema says.
    checks.negative_data_rejection,
    checks.positive_data_acceptance,
    # A cookie that counts, beside a token that does not. Another test here shows no credentials.
    checks.ignored_auth,
]
KNOWN: dict[str, list[dict[str, Any]]] = {
    "/v1/proposals/{": [{"proposal_id": 1}, {"proposal_id": 2}],
    "/v1/cycles/{": [{"cycle_id": 1}, {"cycle_id": 3}, {"cycle_id": 8}],
    "/v1/tokens/{": [{"token_id": 1}, {"token_id": 2}],
    "/v1/agents/{": [{"name": "ease"}, {"name": "popularity"}],
    "/v1/people/{": [{"name": "admin"}, {"name": "ada"}],
    "/v1/schedules/{": [{"name": "nightly"}],
    "/v1/experiments/{": [{"number": 2}],
}
"""Path parameters of what there is, by the paths' beginnings: so more is answered than 404."""


@dataclass(frozen=True)
class Api:
    """The app over a registry with a past, and how to ask it as an admin."""

    app: FastAPI
    schema: Any
    headers: dict[str, str]
    session: Any


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    place = build_place(tmp_path_factory.mktemp("random"), requests_per_minute=0)
    live_in(place)
    with session_scope(place.engine) as session:
        accounts.create(session, ASKS, "correct horse battery", "admin")
        accounts.create(session, "ada", "correct horse battery", "approver")
        for owner, scopes in (("admin", ["administer"]), ("ada", ["approve"])):
            tokens.issue(session, owner=owner, name="ci", scopes=scopes, days=30, who="admin")
    app = create_app(place.app_dependencies())
    sessions: Sessions = app.state.sessions
    logged_in, cookie = sessions.begin(ASKS)
    found = schemathesis.openapi.from_dict(
        app.openapi(),
        config=schemathesis.Config.from_dict(
            {
                "analysis": {"constants": {"enabled": False}},
                "generation": {"with-security-parameters": False},
            }
        ),
    )
    found.app = app
    with asgi.get_client(found.app) as client:
        headers = {CSRF_HEADER: logged_in.csrf, "cookie": f"{COOKIE}={cookie}"}
        yield Api(app, found, headers, client)
        assert sessions.read(cookie) is not None, "after this all answers were 401"
    asgi.shutdown_lifespans()
    place.engine.dispose()


def test_whatever_is_asked_the_answer_is_a_documented_one(
    api: Api, subtests: pytest.Subtests
) -> None:
    for operation in operations(api):

        def ask(case: Any) -> None:
            answer(api, case, api.headers)

        asking = create_test(
            operation=operation,
            test_func=ask,
            config=HypothesisTestConfig(
                project=api.schema.config,
                modes=[HypothesisTestMode.COVERAGE, HypothesisTestMode.FUZZING],
                settings=settings(max_examples=4),
            ),
        )
        with subtests.test(operation.label):
            asking()


def test_so_it_is_for_what_exists(api: Api, subtests: pytest.Subtests) -> None:
    tried = 0
    for operation in operations(api):
        known = of_path(operation)
        if not known:
            continue
        tried += 1

        @settings(max_examples=6)
        @given(case=st.one_of([operation.as_strategy(path_parameters=one) for one in known]))
        def ask(case: Any) -> None:
            answer(api, case, api.headers)

        with subtests.test(operation.label):
            ask()
    assert tried >= 15


def test_without_credentials_all_that_is_not_open_is_refused(
    api: Api, subtests: pytest.Subtests
) -> None:
    for operation in operations(api):
        statuses = set()

        @settings(max_examples=2)
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            statuses.add(answer(api, case, {}))  # noqa: B023 (called before the next turn)

        with subtests.test(operation.label):
            ask()
            closed = "security" in operation.definition.raw
            assert (statuses == {401}) == closed, statuses


def operations(api: Api) -> Iterator[Any]:
    for found in api.schema.get_all_operations():
        yield found.ok()


def answer(api: Api, case: Any, headers: dict[str, str]) -> int:
    """Ask, hold the answer against the document, and return its status."""
    found = case.call(base_url=BASE, headers=headers, session=api.session)
    case.validate_response(found, excluded_checks=LEFT_OUT)
    return int(found.status_code)


def of_path(operation: Any) -> list[dict[str, Any]]:
    """Path parameters of things that exist."""
    return next((known for start, known in KNOWN.items() if operation.path.startswith(start)), [])
