"""``/v1/schedules``: made, read, changed and removed by scripts; refusals name the field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.ui.conftest import build_place

from agenticrs.platform.database import session_scope
from agenticrs.registry import audit, tokens

NEW = {"name": "nightly", "spec": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = build_place(tmp_path_factory.mktemp("schedules"))
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def client(place: Any) -> Any:
    """A script of the admin's."""
    with session_scope(place.engine) as session:
        _, text = tokens.issue(
            session, owner="admin", name="t", scopes=["operate"], days=1, who="test"
        )
    made = place.client()
    made.headers["Authorization"] = f"Bearer {text}"
    return made


def test_a_schedule_lives_from_post_to_delete(client: Any, place: Any) -> None:
    made = client.post("/v1/schedules", json=NEW)
    assert made.status_code == 201
    assert made.json()["when"] == "cron 30 2 * * *"
    assert len(made.json()["next"]) == 5
    assert client.get("/v1/schedules/nightly").json() == made.json()
    changed = client.put(
        "/v1/schedules/nightly", json={"spec": {"every_seconds": 3600}, "version": 0}
    )
    assert changed.json()["when"] == "every 1 h"
    late = client.put("/v1/schedules/nightly", json={"spec": {"every_seconds": 60}, "version": 0})
    assert late.status_code == 409
    for change, state in (("pause", "paused"), ("resume", "active")):
        answer = client.post(f"/v1/schedules/nightly/{change}", json={"reason": "because"})
        assert answer.json()["state"] == state
    asked = client.post("/v1/schedules/nightly/run", json={"reason": "now"})
    assert asked.json()["asked_by"] == "admin"
    assert [one["name"] for one in client.get("/v1/schedules").json()] == ["nightly"]
    assert client.delete("/v1/schedules/nightly").status_code == 422, "a reason is needed"
    gone = client.delete("/v1/schedules/nightly", params={"reason": "no longer"})
    assert gone.json() == {"removed": "nightly"}
    assert client.get("/v1/schedules/nightly").status_code == 404
    assert client.get("/v1/schedules/nightly/runs").json() == []
    with session_scope(place.engine) as session:
        actions = [e.action for e in audit.entries(session) if e.who == "admin"]
    assert actions[-1] == "add schedule"
    assert actions[0] == "remove schedule"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "n", "spec": {"cron": "99 * * * *"}}, "spec.cron"),
        ({"name": "n", "spec": {"cron": "0 3 * * *", "timezone": "Mars"}}, "spec.timezone"),
        ({"name": "n", "spec": {}}, "spec"),
        ({"name": "N N", "spec": {"cron": "0 3 * * *"}}, "name"),
        ({"name": "setting", "spec": {"cron": "0 3 * * *"}}, "name"),
    ],
)
def test_a_refusal_names_the_field(client: Any, body: dict[str, Any], field: str) -> None:
    answer = client.post("/v1/schedules", json=body)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["fields"]] == [field]


def test_the_same_name_twice_is_a_conflict(client: Any) -> None:
    new = {**NEW, "name": "twice"}
    assert client.post("/v1/schedules", json=new).status_code == 201
    assert client.post("/v1/schedules", json=new).status_code == 409


def test_the_budget_is_told(client: Any) -> None:
    found = {(one["period"], one["kind"]): one for one in client.get("/v1/budget").json()}
    assert len(found) == 6
    assert found["day", "seconds"]["limit"] is None


def test_it_is_all_in_the_schema(client: Any) -> None:
    schema = client.get("/v1/openapi.json").json()
    assert {"get", "put", "delete"} <= set(schema["paths"]["/v1/schedules/{name}"])
    assert "cron" in schema["components"]["schemas"]["ScheduleSpec"]["properties"]
