"""MLflow's webhooks, and where MLflow and the registry differ."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

import pytest

from agenticrs.platform.settings import load_settings
from agenticrs.platform.tracking.port import RunRecord
from agenticrs.registry import divergence
from agenticrs.ui.api.mlflow_webhook import OLDEST, signed

SECRET = "the webhook's secret"
BODY = b'{"entity": "model_version_alias", "action": "created", "data": {"alias": "champion"}}'


def headers(secret: str = SECRET, at: float | None = None, body: bytes = BODY) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    content = f"delivery-1.{stamp}.".encode() + body
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    return {
        "X-MLflow-Delivery-Id": "delivery-1",
        "X-MLflow-Timestamp": stamp,
        "X-MLflow-Signature": "v1," + base64.b64encode(digest).decode(),
    }


@pytest.fixture
def expecting(place: Any) -> Any:
    place.settings = load_settings(home=place.settings.home, mlflow_webhook_secret=SECRET)
    return place


def test_it_signs_as_mlflow_does() -> None:
    from mlflow.webhooks.delivery import _generate_hmac_signature

    theirs = _generate_hmac_signature(SECRET, "d", "1000", BODY.decode())
    assert signed(SECRET, "d", "1000", BODY, theirs, now=1000.0)
    assert not signed("another", "d", "1000", BODY, theirs, now=1000.0)
    assert not signed(SECRET, "d", "1000", BODY + b" ", theirs, now=1000.0)
    assert not signed(SECRET, "e", "1000", BODY, theirs, now=1000.0)
    assert not signed(SECRET, "d", "1000", BODY, theirs, now=1001.0 + OLDEST)
    for stamp in ("", "nan", "inf", "soon"):
        assert not signed(SECRET, "d", stamp, BODY, theirs, now=1000.0)


def test_a_signed_message_makes_serving_follow_at_once_and_again_changes_nothing(
    expecting: Any,
) -> None:
    expecting.tracking.set_alias("home.composition", "champion", 2)
    client = expecting.client()
    answer = client.post("/v1/mlflow/webhook", content=BODY, headers=headers())
    assert answer.json() == {"changed": True, "composition": 2}
    answer = client.post("/v1/mlflow/webhook", content=BODY, headers=headers())
    assert answer.json() == {"changed": False, "composition": 2}


def test_what_mlflow_has_not_signed_is_refused_and_without_a_secret_nothing_is_expected(
    expecting: Any,
) -> None:
    client = expecting.client()
    for told in ({}, headers("guessed"), headers(at=0), headers(body=b"other")):
        answer = client.post("/v1/mlflow/webhook", content=BODY, headers=told)
        assert answer.status_code == 403
    expecting.settings = load_settings(home=expecting.settings.home)
    answer = expecting.client().post("/v1/mlflow/webhook", content=BODY, headers=headers())
    assert answer.status_code == 404


def test_divergences_are_named_and_explained_on_their_page_while_serving_goes_on(
    place: Any,
) -> None:
    client = place.logged_in()
    assert "Both say the same" in client.get("/divergence").text
    place.tracking.models["home.composition"].aliases["champion"] = 77
    place.tracking.delete_alias("home.popularity", "champion")
    found = {d.model: d for d in divergence.look(place.engine, place.tracking, "home")}
    assert "does not know" in found["home.composition"].what
    assert "was deleted" in found["home.popularity"].what
    assert "version 1 keeps serving" in found["home.popularity"].what
    page = client.get("/divergence").text
    assert "version 77, which the registry does not know" in page
    place.tracking.models["renamed"] = place.tracking.models.pop("home.composition")
    assert "renamed or deleted" in client.get("/divergence").text
    place.serving.refresh()
    assert client.get("/v1/recommend?user_id=u").json()["composition"] == 1
    place.tracking.reachable = False
    assert "MLflow cannot be reached" in client.get("/divergence").text


def test_a_version_that_somebody_made_in_mlflow_is_named_on_the_same_page(place: Any) -> None:
    client = place.logged_in()
    assert "In MLflow alone" not in client.get("/divergence").text
    run_id = place.tracking.log_run("by hand", RunRecord("mine", artifacts={"model/a": b"a"}))
    number = place.tracking.register(
        "home.popularity", run_id, "model", tags={}, description="<b>mine</b>"
    )
    page = client.get("/divergence").text
    assert "In MLflow alone" in page
    assert f'<code>home.popularity</code></td><td class="number right">{number}</td>' in page
    assert "somebody made it in MLflow" in page
