"""Experiments in the console and by the API: the empty list, one under way, stopping it."""

from __future__ import annotations

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
