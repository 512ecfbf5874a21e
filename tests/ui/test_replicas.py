"""The app of a replica has the open routes alone; Ray Serve runs several behind one address."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.ports import free_port

from agenticrs.platform.errors import JobError
from agenticrs.platform.jobs.ray_runner import RayRunner
from agenticrs.platform.settings import Settings, load_settings
from agenticrs.ui import wiring
from agenticrs.ui.replicas import build_app, replicas


def test_the_app_of_a_replica_recommends_takes_feedback_and_has_nothing_else(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = SimpleNamespace(
        engine=place.engine, tracking=place.tracking, datasets=place.datasets
    )
    monkeypatch.setattr(
        wiring, "build_controller", lambda settings: SimpleNamespace(services=services)
    )
    client = TestClient(build_app(place.settings), base_url="http://127.0.0.1")
    shown = client.post("/v1/recommend", json={"user_id": "u-new", "k": 3}).json()
    assert (shown["composition"], len(shown["items"])) == (1, 3)
    item = shown["items"][0]["id"]
    told = {"key": "k", "user_id": "u-new", "item_id": item, "behaviours": {"click": 1}}
    assert client.post("/v1/feedback", json={"events": [told]}).json()["new"] == 1
    assert client.get("/healthz").json()["status"] == "ok"
    assert "agenticrs_serving_info" in client.get("/metrics").text
    place.serving.refresh()
    again = place.serving.recommend("u-new", 10)
    assert item not in [one.id for one in again.items], "another process has it with its next look"
    for path in ("/", "/login", "/v1/proposals", "/v1/audit"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert set(answer.json()) == {"error", "hint"}


def test_without_ray_serve_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    with (
        pytest.raises(JobError) as caught,
        replicas(load_settings(home=tmp_path, replicas=1)),
    ):
        pass
    assert "agenticrs[serve]" in (caught.value.hint or "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray Serve's own
def test_replicas_answer_in_processes_of_their_own_behind_one_address(tmp_path: Path) -> None:
    def build(settings: Settings) -> Any:
        import os

        from fastapi import FastAPI

        app, answer = FastAPI(), {"process": os.getpid(), "surface": settings.surface}
        app.get("/healthz")(lambda: answer)
        return app

    def ask(address: str) -> tuple[int, str]:
        with urllib.request.urlopen(f"{address}/healthz", timeout=60) as answer:
            found = json.loads(answer.read())
        return found["process"], found["surface"]

    settings = load_settings(home=tmp_path, replicas=2, replica_port=free_port(), surface="shop")
    with RayRunner(None, tmp_path):
        with replicas(settings, build) as address:
            found = {ask(address) for _ in range(60)}
        assert len({process for process, _ in found}) == 2
        assert {surface for _, surface in found} == {"shop"}
        with pytest.raises(urllib.error.URLError):
            ask(address)
