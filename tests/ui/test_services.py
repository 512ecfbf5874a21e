"""Starting everything together: what is refused, what is remembered, what is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs
from tests.ports import free_port

from agenticrs.evolution.scheduling import edits
from agenticrs.evolution.scheduling.scheduler import leader_lease
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import AgenticRSError, Conflict, SettingsError
from agenticrs.platform.settings import load_settings
from agenticrs.registry import accounts, audit, lease, schedules, schema
from agenticrs.ui import services


def test_a_second_start_on_the_same_home_is_refused_and_told_where(tmp_path: Path) -> None:
    with services._only_one(tmp_path) as record:
        services._write(record, {"api": "http://127.0.0.1:8321"})
        with pytest.raises(Conflict) as caught, services._only_one(tmp_path):
            pass
        assert f"process {os.getpid()}, http://127.0.0.1:8321" in caught.value.message
        assert record.exists(), "the refused one leaves the other's record alone"
    assert not record.exists()
    with services._only_one(tmp_path):
        pass


def test_another_home_is_no_conflict(tmp_path: Path) -> None:
    with services._only_one(tmp_path / "a"), services._only_one(tmp_path / "b"):
        pass


@pytest.mark.parametrize("left", ['{"pid": 1}', "{broken", "[]", ""])
def test_a_record_that_a_killed_one_left_is_replaced(tmp_path: Path, left: str) -> None:
    path = tmp_path / "run" / "services.json"
    path.parent.mkdir()
    path.write_text(left)  # process 1 always lives: a number alone proves nothing
    with services._only_one(tmp_path) as record:
        assert json.loads(record.read_text())["pid"] == os.getpid()


def test_a_taken_port_is_told_before_anything_else_starts(tmp_path: Path) -> None:
    def too_late(_settings: Any) -> Any:
        raise AssertionError("nothing may start")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load_settings(home=tmp_path, port=taken.getsockname()[1])
        with pytest.raises(SettingsError) as caught:
            services.up(settings, too_late)
    assert "AGENTICRS_PORT" in caught.value.hint
    assert not (tmp_path / "run" / "services.json").exists()


def test_it_bounds_the_heaps_of_its_process_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(services, "bound_heaps", lambda: asked.append(True))
    with services._only_one(tmp_path), pytest.raises(Conflict):
        services.up(load_settings(home=tmp_path))
    assert asked


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8321"),
        ("0.0.0.0", "http://127.0.0.1:8321"),
        ("::", "http://127.0.0.1:8321"),
        ("::1", "http://[::1]:8321"),
        ("recs.internal", "http://recs.internal:8321"),
    ],
)
def test_the_printed_address_is_one_that_a_browser_takes(host: str, url: str) -> None:
    assert services._url(host, 8321) == url


def test_the_first_start_makes_an_account_and_tells_the_password_once(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'r.db'}")
    schema.upgrade(engine)
    password = services._first_account(engine, load_settings(home=tmp_path))
    assert password is not None
    with session_scope(engine) as session:
        assert accounts.verify(session, "admin", password)
    assert services._first_account(engine, load_settings(home=tmp_path)) is None
    engine.dispose()


def test_a_password_that_was_given_is_used_and_never_shown(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'r.db'}")
    schema.upgrade(engine)
    settings = load_settings(home=tmp_path, admin_password="given by the person")
    assert services._first_account(engine, settings) is None
    with session_scope(engine) as session:
        assert accounts.verify(session, "admin", "given by the person")
    engine.dispose()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_through_the_way_out_and_only_once(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in services._SIGNALS]
    ended = []

    def run() -> None:
        with services._stoppable():
            try:
                signal.raise_signal(number)
            finally:
                for again in services._SIGNALS:  # while it stops: not heard
                    signal.raise_signal(again)
                ended.append("way out")

    with pytest.raises(SystemExit) as caught:
        run()
    assert (caught.value.code, ended) == (0, ["way out"])
    assert [signal.getsignal(each) for each in services._SIGNALS] == before


@dataclass
class FakeController:
    """Evolves until it is told to end, then writes into the registry or fails."""

    services: Any
    error: Exception | None = None
    surface: str = "home"
    begun: threading.Event = field(default_factory=threading.Event)
    end: threading.Event = field(default_factory=threading.Event)

    def evolve(self, *_: Any, **__: Any) -> list[int]:
        self.begun.set()
        assert self.end.wait(60)
        with session_scope(self.services.engine) as session:
            audit.record(session, who="cycle", action="failed", subject="because Ray is gone")
        if self.error:
            raise self.error
        return []


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Engine]:
    engine = make_engine(f"sqlite:///{tmp_path / 'r.db'}")
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def controller(registry: Engine, tmp_path: Path) -> Any:
    settings = load_settings(home=tmp_path, schedule="0 3 * * *")
    return FakeController(SimpleNamespace(engine=registry, settings=settings))


def started(controller: Any) -> services.ScheduledCycles:
    """Schedules whose only one a person has asked to run: it is at work."""
    engine = controller.services.engine
    edits.follow_setting(engine, "home", controller.services.settings.schedule)
    with session_scope(engine) as session:
        edits.run_now(session, "home", "setting", who="ada", reason="now")
    scheduled = services.ScheduledCycles()
    scheduled.begin(controller)
    assert controller.begun.wait(60)
    assert scheduled.at_work
    return scheduled


def run_states(engine: Engine) -> list[str]:
    with session_scope(engine) as session:
        return [run.state for run in schedules.runs(session, "home")]


@pytest.mark.parametrize("error", [None, AgenticRSError("MLflow is away")])
def test_a_scheduled_cycle_is_known_to_be_at_work_until_it_ends(
    controller: Any, error: Exception | None
) -> None:
    controller.error = error
    scheduled = started(controller)
    controller.end.set()
    assert scheduled.wait(60)
    scheduled.stop()
    assert not scheduled.at_work
    assert run_states(controller.services.engine) == ["failed" if error else "done"]


def test_a_cycle_that_is_cut_off_records_nothing_of_our_stopping_and_ends(
    controller: Any, registry: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled = started(controller)
    scheduled.stop()
    scheduled.freeze(registry)
    controller.end.set()
    assert scheduled.wait(60)
    with session_scope(registry) as session:
        assert [e for e in audit.entries(session) if e.who == "cycle"] == []
    assert run_states(registry) == ["running"], "whoever leads next begins it again"
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    services._leave(scheduled)
    assert left == [], "nothing keeps the process alive"


def test_another_process_may_lead_as_soon_as_it_has_stopped(
    controller: Any, registry: Engine
) -> None:
    scheduled = started(controller)
    assert lease.is_held(registry, leader_lease("home"))
    scheduled.stop()
    assert not lease.is_held(registry, leader_lease("home"))
    controller.end.set()
    assert scheduled.wait(60)


def test_a_cycle_that_a_decision_went_on_with_is_cut_off_too(
    controller: Any, registry: Engine
) -> None:
    services.ScheduledCycles().freeze(registry)
    controller.end.set()
    with ThreadPoolExecutor(1) as request, pytest.raises(SystemExit):
        request.submit(controller.evolve).result(60)
    with session_scope(registry) as session:
        assert audit.entries(session) == []


def test_a_cycle_that_does_not_notice_keeps_nobody_waiting_for_ever(
    controller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled = started(controller)
    scheduled.stop()
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    assert not scheduled.wait(0.01)
    services._leave(scheduled)
    assert left == [0]
    controller.end.set()
    assert scheduled.wait(60)


def test_without_a_cycle_at_work_it_leaves_the_usual_way(
    registry: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    scheduled = services.ScheduledCycles()
    scheduled.freeze(registry)
    services._leave(scheduled)
    assert left == []
    with session_scope(registry) as session:
        audit.record(session, who="setup", action="still", subject="writes")


COMMAND = Path(sys.executable).with_name("agenticrs")


def processes_of(home: Path) -> dict[int, str]:
    """Every process that was started on the home, by its environment (zombies have none)."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"AGENTICRS_HOME={home}\0".encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")[:90]
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return found


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came about"
        threading.Event().wait(0.1)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_stopped_in_the_middle_of_a_cycle_it_leaves_no_process_and_no_failure(
    tmp_path: Path,
) -> None:
    env = {
        **os.environ,
        "AGENTICRS_HOME": str(tmp_path),
        "AGENTICRS_SCHEDULE": "* * * * *",
        "AGENTICRS_PORT": str(free_port()),
        "AGENTICRS_MLFLOW_PORT": str(free_port()),
    }
    for arguments in (
        ["data", "generate", "--users", "300", "--items", "100"],
        ["agents", "admit", "popularity", "itemknn", "ease", "bpr", "rrf"],
    ):
        subprocess.run([COMMAND, *arguments], env=env, check=True, capture_output=True)

    def rows(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{tmp_path}/registry.db?mode=ro", uri=True)) as found:
            return found.execute(query).fetchall()

    with (tmp_path / "up.log").open("wb") as log:
        process = subprocess.Popen([COMMAND, "up"], env=env, stdout=log, stderr=log)
    try:
        wait_until(lambda: bool(rows("SELECT id FROM trial WHERE state = 'done'")), 200)
        assert rows("SELECT state FROM cycle ORDER BY id DESC LIMIT 1") == [("running",)]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, (tmp_path / "up.log").read_text()[-3000:]
        assert processes_of(tmp_path) == {}
    finally:
        for left in processes_of(tmp_path):
            os.kill(left, signal.SIGKILL)
    assert rows("SELECT state FROM cycle ORDER BY id DESC LIMIT 1") == [("running",)]
    assert rows("SELECT agent, error FROM trial WHERE state = 'failed'") == []
    assert rows("SELECT name, error FROM cycle_step WHERE state = 'failed'") == []
    assert "Traceback" not in (tmp_path / "up.log").read_text()


def test_models_without_a_price_are_named_at_the_start(tmp_path: Path) -> None:
    with capture_logs() as told:
        services._name_unpriced(load_settings(home=tmp_path, llm_models="a,b", llm_prices="a=0/0"))
        services._name_unpriced(load_settings(home=tmp_path, llm_models="a", llm_prices="a=1/2"))
    assert [(one["log_level"], one["event"].split(":")[0]) for one in told] == [
        ("warning", "no price is known of b")
    ]
