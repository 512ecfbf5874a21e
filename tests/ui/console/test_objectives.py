"""Weights of the objectives: the console's pages and forms, and the same by the API."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.ui.conftest import PASSWORD, Place, csrf_of

from agenticrs.platform.database import session_scope
from agenticrs.registry import audit, objectives
from agenticrs.registry.tables import ObjectiveRow

LIFT = {
    "metric": "long_term_value, 3 times as long",
    "before": {"mean": 20.0, "low": 19.0, "high": 21.0},
    "after": {"mean": 23.0, "low": 22.0, "high": 24.0},
    "difference": {"mean": 3.0, "low": 1.5, "high": 4.5, "p_value": 0.001},
}
ADMIN = ("admin", PASSWORD)


def proposed(place: Place, state: str = "waiting", **evidence: Any) -> int:
    with session_scope(place.engine) as session:
        row = objectives.file(
            session,
            ObjectiveRow(
                surface="home",
                proposed_by="objective_configurator version 3",
                before={"watch_time": 1.0},
                after={"watch_time": 0.25, "retention": 0.75},
                evidence=evidence,
                state=state,
                reason="itemknn instead of serving is worth more later",
            ),
        )
        return row.id or 0


def send(client: TestClient, path: str, page: str, **fields: str) -> int:
    token = csrf_of(client.get(page).text)
    return client.post(path, data={"csrf": token, **fields}).status_code


def held(place: Place) -> ObjectiveRow | None:
    with session_scope(place.engine) as session:
        return objectives.approved(session, "home")


def test_without_a_proposal_the_weights_of_the_settings_are_shown(empty_place: Place) -> None:
    text = empty_place.logged_in().get("/objectives").text
    assert "No other weights have been proposed." in text
    assert "watch time" in text
    assert "22.22 %" in text, "1 of 4.5"
    assert "/objectives/reset" not in text


def test_a_person_approves_weights_with_a_reason_and_goes_back(empty_place: Place) -> None:
    place, client = empty_place, empty_place.logged_in()
    number = proposed(
        place,
        worth=LIFT,
        chosen_before="serving",
        chosen_after="itemknn",
        trust={"score": 0.71, "threshold": 0.6},
        users=400,
        days=3,
    )
    assert f'href="/objectives/{number}"' in client.get("/").text, "it waits for you"
    page = f"/objectives/{number}"
    text = client.get(page).text
    for said in ("itemknn instead of serving", "+3.0000", "+1.5000 … +4.5000", "0.71", "75 %"):
        assert said in text
    assert send(client, f"{page}/decide", page, verdict="approve") == 403, "without a reason"
    assert send(client, f"{page}/decide", page, verdict="perhaps", reason="hm") == 403
    assert held(place) is None
    assert send(client, f"{page}/decide", page, verdict="approve", reason="they come back") == 303
    row = held(place)
    assert row is not None
    assert (row.who, row.reason) == ("admin", "they come back")
    assert "they come back" in client.get(page).text
    assert f"proposal {number}, approved by admin" in client.get("/objectives").text
    reset = {"page": "/objectives", "reason": "a bad month"}
    assert send(client, "/objectives/reset", **reset) == 303
    assert held(place) is None
    with session_scope(place.engine) as session:
        actions = [row.action for row in audit.entries(session, 10)]
    told = [action for action in actions if action.startswith("objectives")]
    assert told == ["objectives: reset", "objectives: approve", "objectives: propose"]


@pytest.mark.parametrize("state", ["refused", "superseded"])
def test_what_does_not_wait_has_no_form_and_cannot_be_approved(
    empty_place: Place, state: str
) -> None:
    number, client = proposed(empty_place, state), empty_place.logged_in()
    page = f"/objectives/{number}"
    text = client.get(page).text
    assert "/decide" not in text
    assert send(client, f"{page}/decide", page, verdict="approve", reason="please") == 403
    assert held(empty_place) is None


def test_the_api_shows_and_decides(empty_place: Place) -> None:
    number, client = proposed(empty_place, worth=LIFT), empty_place.client()
    shown = client.get("/v1/objectives", auth=ADMIN).json()
    assert (shown["source"], shown["proposal"]) == ("the settings", None)
    assert sum(shown["shares"].values()) == pytest.approx(1)
    assert shown["proposals"][0]["evidence"]["worth"]["difference"]["low"] == 1.5
    path = f"/v1/objectives/{number}"
    assert client.post(f"{path}/approve", json={"reason": " "}, auth=ADMIN).status_code == 422
    answer = client.post(f"{path}/approve", json={"reason": "worth it"}, auth=ADMIN)
    assert answer.json()["state"] == "approved"
    shown = client.get("/v1/objectives", auth=ADMIN).json()
    assert shown["shares"] == {"watch_time": 0.25, "retention": 0.75}
    again = client.post(f"{path}/reject", json={"reason": "no"}, auth=ADMIN)
    assert again.status_code == 403, "it was decided"
    back = client.post("/v1/objectives/reset", json={"reason": "no"}, auth=ADMIN)
    assert back.json()["state"] == "superseded"
    again = client.post("/v1/objectives/reset", json={"reason": "no"}, auth=ADMIN)
    assert again.status_code == 404
    number = proposed(empty_place)
    answer = client.post(f"/v1/objectives/{number}/reject", json={"reason": "no"}, auth=ADMIN)
    assert answer.json()["state"] == "rejected"
