"""Experiments in the console and by the API: the empty list, one under way, stopping it."""

from __future__ import annotations

import pytest
from tests.ui.conftest import PASSWORD, Place, csrf_of

from agenticrs.evolution import experiments
from agenticrs.evolution.experiments import Told, Wanted
from agenticrs.registry.tables import ExperimentRow
from agenticrs.rewards.experiments.guardrails import Guardrail

ADMIN = ("admin", PASSWORD)


def begun(place: Place) -> ExperimentRow:
    wanted = Wanted(
        "Does it help?", "calm", "dense", guardrails=(Guardrail("leaving", margin=0.1),)
    )
    where = (place.engine, place.tracking, place.settings)
    return experiments.begin(*where, wanted, who="ada", reason="people leave")


def seen(place: Place, row: ExperimentRow) -> ExperimentRow:
    users = [f"u{n}" for n in range(60)]
    told = [
        Told(user, {"reward": 1.0 + n % 3, "leaving": float(n % 2)}, before=float(n % 3))
        for n, user in enumerate(users)
    ]
    return experiments.observe(place.engine, "home", row.id or 0, told, who="cron")


def test_the_page_shows_arms_shares_interval_guardrails_and_verdict(empty_place: Place) -> None:
    client = empty_place.logged_in()
    assert "No experiment has been planned yet." in client.get("/experiments").text
    row = begun(empty_place)
    path = f"/experiments/{row.id}"
    assert "No step has shown anything yet." in client.get(path).text
    seen(empty_place, row)
    text = client.get(path).text
    for said in (
        "Does it help?",
        "people leave",
        "It goes on",
        "1 of 14",
        "p-value of the sample ratio",
        "100 %",
        "Always valid interval",
        "leaving",
        "undecided",
        "experiment begins",
        row.salt,
    ):
        assert said in text, said
    assert 'class="lines wide"' in text
    assert "Does it help?" in client.get("/experiments").text


def test_an_approver_stops_it_with_a_reason(empty_place: Place) -> None:
    row, client = begun(empty_place), empty_place.logged_in()
    path = f"/experiments/{row.id}"
    token = csrf_of(client.get(path).text)
    assert client.post(f"{path}/stop", data={"csrf": token, "reason": " "}).status_code == 403
    fields = {"csrf": token, "reason": "the page broke"}
    assert client.post(f"{path}/stop", data=fields).status_code == 303
    text = client.get(path).text
    assert "It was stopped" in text
    assert "the page broke" in text
    assert f"{path}/stop" not in text


def test_the_api_tells_the_same(empty_place: Place) -> None:
    row, client = begun(empty_place), empty_place.client()
    seen(empty_place, row)
    (one,) = client.get("/v1/experiments", auth=ADMIN).json()
    assert one == client.get(f"/v1/experiments/{row.id}", auth=ADMIN).json()
    assert (one["state"], one["step"], one["arms"][0]["planned"]) == ("running", 1, 0.5)
    assert one["metrics"][0]["metric"] == "reward"
    answer = client.post(f"/v1/experiments/{row.id}/stop", json={"reason": "enough"}, auth=ADMIN)
    assert answer.json()["state"] == "stopped"
    assert client.get("/v1/experiments/99", auth=ADMIN).status_code == 404


FILE = "\ufeffuser,reward,leaving,before\n" + "".join(
    f"u{n},{1 + n % 3},{n % 2},{n % 3}\n" for n in range(60)
)


def test_an_operator_plans_one_and_hands_in_what_users_brought(empty_place: Place) -> None:
    client = empty_place.logged_in()
    token = csrf_of(client.get("/experiments").text)
    fields = {
        "csrf": token,
        "title": "Does it help?",
        "treatment": "calm",
        "control": "dense",
        "guardrails": "leaving=0.1\n",
        "reason": "people leave",
    }
    refused = client.post("/experiments", data=fields | {"guardrails": "leaving"})
    assert (refused.status_code, "is no guardrail" in refused.text) == (400, True)
    assert client.post("/experiments", data=fields | {"allocation": "2"}).status_code == 422
    path = client.post("/experiments", data=fields).headers["location"]
    assert "user,reward,leaving,before" in client.get(path).text

    def hand_in(content: str | bytes) -> int:
        sent = {"file": ("day.csv", content, "text/csv")}
        return client.post(f"{path}/observe", data={"csrf": token}, files=sent).status_code

    assert hand_in("user,reward,leaving\nu1,much,0\n") == 400
    assert hand_in("user,reward,leaving\nu1,1e300,0\n") == 400
    assert hand_in("user,reward,leaving\nu1,nan,0\n") == 400
    assert hand_in(b"\xff\xfe\x00") == 400
    assert hand_in("") == 400
    assert hand_in(FILE) == 303
    assert hand_in(FILE) == 403, "a user counts once"
    text = client.get(path).text
    assert "1 of 14" in text
    assert "<td>admin</td>" in text, "who told"
    sent = {"file": ("day.csv", FILE, "text/csv")}
    assert client.post(f"{path}/observe", files=sent).status_code == 403, "without the token"


def test_a_program_begins_one_asks_for_arms_and_tells(empty_place: Place) -> None:
    client = empty_place.client()
    wanted = {
        "title": "Does it help?",
        "treatment": "calm",
        "control": "dense",
        "reason": "people leave",
        "guardrails": [{"metric": "leaving", "margin": 0.1}],
    }
    number = client.post("/v1/experiments", json=wanted, auth=ADMIN).json()["experiment"]
    path = f"/v1/experiments/{number}"
    asked = {"user": ["u1", "u2", "u3"]}
    arms = client.get(f"{path}/arms", params=asked, auth=ADMIN).json()
    row = client.get(path, auth=ADMIN).json()
    assert [one["user"] for one in arms] == asked["user"]
    assert {one["arm"] for one in arms} <= {"treatment", "control"}
    told = [
        {"user": f"u{n}", "metrics": {"reward": n % 3, "leaving": n % 2}, "before": n % 3}
        for n in range(60)
    ]
    seen = client.post(f"{path}/observations", json={"users": told}, auth=ADMIN).json()
    assert (row["step"], seen["step"]) == (0, 1)
    assert sum(arm["users"] for arm in seen["arms"]) == 60
    again = client.post(f"{path}/observations", json={"users": told[:1]}, auth=ADMIN)
    assert again.status_code == 403
    partly = {"users": [{"user": "x", "metrics": {"reward": 1.0}}]}
    assert client.post(f"{path}/observations", json=partly, auth=ADMIN).status_code == 400


@pytest.mark.parametrize("change", [{"margin": 0}, {"allocation": 1}, {"title": " "}, {"more": 1}])
def test_what_is_no_design_is_refused_by_its_field(
    empty_place: Place, change: dict[str, object]
) -> None:
    wanted = {"title": "?", "treatment": "a", "control": "b", "reason": "because"} | change
    answer = empty_place.client().post("/v1/experiments", json=wanted, auth=ADMIN)
    assert answer.status_code == 422
    assert next(iter(change)) in answer.text
