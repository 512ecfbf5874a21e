"""The main job with every real part: MLflow's server, Ray, the API, and a browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("agenticrs")
PASSWORD = "correct horse battery"
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def wait_for(what: str, done: Callable[[], Any], seconds: float) -> Any:
    """Poll until the answer is true; fail with the name of what never came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = done()
        if answer:
            return answer
        threading.Event().wait(0.2)
    pytest.fail(f"{what} did not happen within {seconds} s")


@dataclass
class Service:
    """A running ``agenticrs up`` and the commands beside it."""

    env: dict[str, str]
    api: str
    mlflow: str

    def run(self, *arguments: str) -> Any:
        done = subprocess.run(
            [COMMAND, *arguments, "--json"],
            env=self.env,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def recommend(self, user: str = "u1") -> Any:
        with urlopen(f"{self.api}/v1/recommend?user_id={user}&k=5", timeout=60) as answer:
            return json.load(answer)

    def up(self) -> bool:
        try:
            with urlopen(f"{self.api}/healthz", timeout=60) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("e2e")
    port, mlflow_port = free_port(), free_port()
    env = {
        **os.environ,
        "AGENTICRS_HOME": str(home),
        "AGENTICRS_PORT": str(port),
        "AGENTICRS_MLFLOW_PORT": str(mlflow_port),
        "AGENTICRS_ADMIN_PASSWORD": PASSWORD,
        "AGENTICRS_TRIALS": "2",
        # Busy machines refuse no composition, and no stand-in answers for a late agent.
        "AGENTICRS_LATENCY_LIMIT_MS": "60000",
        "AGENTICRS_AGENT_TIMEOUT_MS": "60000",
    }
    found = Service(env, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mlflow_port}")
    found.run("data", "generate", "--users", "800", "--items", "200")
    log = (home / "up.log").open("w")
    process = subprocess.Popen([COMMAND, "up"], env=env, stdout=log, stderr=log)
    try:

        def listening() -> bool:
            assert process.poll() is None, (home / "up.log").read_text()[-3000:]
            services = home / "run" / "services.json"
            return services.exists() and "ray" in json.loads(services.read_text())

        wait_for("agenticrs up", listening, 180)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert not (home / "run" / "services.json").exists(), "up left its traces behind"
        log.close()


@pytest.fixture
def page() -> Iterator[Page]:
    found = subprocess.run(
        [sys.executable, ROOT / "tests" / "browser.py"], check=True, capture_output=True, text=True
    )
    path = found.stdout.strip().removeprefix("browser: ")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*CHROMIUM])
        context = chromium.new_context()
        foreign: list[str] = []
        context.on(
            "request",
            lambda r: foreign.append(r.url) if "127.0.0.1" not in r.url else None,
        )
        yield context.new_page()
        chromium.close()
        assert not foreign, f"pages asked other hosts: {foreign}"


@dataclass
class Traffic:
    """Asks for recommendations without pause, and remembers every failure."""

    service: Service
    failures: list[str] = field(default_factory=list)
    answered: int = 0

    def __enter__(self) -> Traffic:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.wait(0.01):
            try:
                self.service.recommend()
                self.answered += 1
            except (URLError, OSError) as error:
                self.failures.append(str(error))


def test_evolve_approve_serve_roll_back_in_mlflow_serve_the_old_one(
    service: Service, page: Page
) -> None:
    agents = ["popularity", "itemknn", "ease", "bpr", "mmr", "rrf", "history_router"]
    service.run("agents", "admit", *agents)
    cycles = service.run("evolve")
    assert [cycle["kind"] for cycle in cycles] == ["bootstrap", "individual", "compositional"]
    waiting = service.run("proposals", "list", "--state", "waiting")
    assert len(waiting) == 1, cycles
    proposal = waiting[0]["proposal"]
    wait_for("serving", service.up, 60)
    first = service.recommend()["composition"]
    assert first == waiting[0]["before"]

    with Traffic(service) as traffic:
        page.goto(f"{service.api}/proposals/{proposal}")
        page.fill("[name=name]", "admin")
        page.fill("[name=password]", PASSWORD)
        page.click("button:has-text('Log in')")
        page.locator("svg").nth(1).wait_for()
        page.fill("[name=reason]", "better for every segment")
        page.click("button:has-text('Approve')")
        page.wait_for_load_state()
        after = waiting[0]["after"]
        wait_for("the swap", lambda: service.recommend()["composition"] == after, 60)

        # A person moves the alias back in MLflow itself; here by its own client.
        code = (
            "import mlflow, sys\n"
            "client = mlflow.MlflowClient(sys.argv[1])\n"
            "client.set_registered_model_alias('home.composition', 'champion', sys.argv[2])"
        )
        subprocess.run(
            [sys.executable, "-c", code, service.mlflow, str(first)], check=True, env=service.env
        )
        wait_for("the rollback", lambda: service.recommend()["composition"] == first, 60)
    assert traffic.failures == []
    assert traffic.answered > 10

    page.goto(f"{service.api}/agents/popularity")
    with page.context.expect_page() as opened:
        page.locator("a.away").first.click()
    expect(opened.value.get_by_text("home.popularity").first).to_be_visible(timeout=60_000)

    audit = service.run("audit", "list")
    newest = next(entry for entry in audit if entry["action"] == "promote")
    assert newest["who"] == "mlflow"
    assert "moved in MLflow" in newest["reason"]
    with urlopen(service.mlflow, timeout=60) as answer:
        assert b"<html" in answer.read(2000).lower()


def test_feedback_changes_what_is_shown_and_is_known_by_its_key(service: Service) -> None:
    from urllib.request import Request

    if not service.up():
        pytest.skip("needs the cycle of the test before")
    shown = service.recommend("u2")["items"][0]
    item = shown.get("id") or shown["item"]
    event = {"key": "k1", "user_id": "u2", "item_id": item, "behaviours": {"click": 1}}
    for expected in (1, 0):
        request = Request(
            f"{service.api}/v1/feedback",
            data=json.dumps({"events": [event]}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=60) as answer:
            assert json.load(answer)["new"] == expected
    later = [i.get("id") or i["item"] for i in service.recommend("u2")["items"]]
    assert item not in later
