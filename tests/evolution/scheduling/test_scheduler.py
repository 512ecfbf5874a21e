"""Schedules carried out: once, by the leader, as rows say; what dies is begun again."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Engine

from agenticrs.evolution import outages
from agenticrs.evolution.alternation import NothingDue
from agenticrs.evolution.controller import Controller, lease_name
from agenticrs.evolution.drift import Drift, Look, Signal
from agenticrs.evolution.scheduling import edits
from agenticrs.evolution.scheduling import scheduler as looked_after
from agenticrs.evolution.scheduling.allowance import accounts
from agenticrs.evolution.scheduling.scheduler import Scheduler, leader_lease
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import (
    AgenticRSError,
    Conflict,
    EvolutionError,
    NotAllowed,
    SettingsError,
    TrackingAway,
)
from agenticrs.platform.settings import load_settings
from agenticrs.registry import (
    audit,
    cycles,
    feedback,
    lease,
    outbox,
    schedules,
    schema,
    trials,
)
from agenticrs.registry.tables import ScheduleRow, ScheduleRunRow, utc_now


@dataclass
class FakeController:
    """Evolves for as long as a test lets it; remembers what it was asked."""

    services: Any
    surface: str = "home"
    calls: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None
    ends: threading.Event = field(default_factory=threading.Event)
    drifted: bool = False
    looks: int = 0

    def evolve(self, kinds: tuple[str, ...], *, trim: Any, **asked: Any) -> list[int]:
        assert self.ends.wait(60)
        budget = trim({name: asked[name] for name in ("trials", "seconds", "gpu_seconds")})
        self.calls.append({"kinds": kinds, **asked, **budget})
        if self.error is not None:
            raise self.error
        return [self.cycle("done")]

    def cycle(self, state: str) -> int:
        with session_scope(self.services.engine) as session:
            row = cycles.open_cycle(
                session,
                surface=self.surface,
                kind="individual",
                dataset="shop",
                fingerprint=self.services.datasets.fingerprints("shop")[-1],
                seed=0,
                request={},
            )
            cycles.finish(session, row.id or 0, state, error="" if state == "done" else "broke")
        return row.id or 0

    def look(self) -> Look | None:
        self.looks += 1
        signal = Signal("items", 0.4, 0.1, 9.0)
        return Look("a", "b", 1000, Drift((signal,), 0.025 if self.drifted else 0.5, 60))


@dataclass
class Stage:
    """A registry, a clock that a test turns, and schedulers that look when a test says so."""

    engine: Engine
    controller: FakeController
    now: datetime = field(default_factory=utc_now)

    def scheduler(self) -> Scheduler:
        return Scheduler(cast(Controller, self.controller), clock=lambda: self.now)

    def add(self, name: str = "nightly", **values: Any) -> ScheduleRow:
        with session_scope(self.engine) as session:
            row = edits.add(session, "home", name, values or {"every_seconds": 3600}, who="ada")
        return row

    def row(self, name: str = "nightly") -> ScheduleRow:
        with session_scope(self.engine) as session:
            return schedules.get(session, "home", name)

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    def runs(self) -> list[tuple[str, str]]:
        """(cause, state), oldest first."""
        with session_scope(self.engine) as session:
            return [(run.cause, run.state) for run in schedules.runs(session, "home")][::-1]

    def last(self) -> ScheduleRunRow:
        with session_scope(self.engine) as session:
            return schedules.runs(session, "home", limit=1)[0]

    def finish(self, scheduler: Scheduler) -> None:
        self.controller.ends.set()
        assert scheduler.wait(60)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty registry and a dataset, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("empty")
    engine = make_engine(f"sqlite:///{folder / 'r.db'}")
    schema.upgrade(engine)
    engine.dispose()
    shop = generate(GeneratorConfig(n_users=20, n_items=20)).raw
    DatasetStore(folder / "data").save("shop", shop)
    return folder


@pytest.fixture
def stage(empty: Path, tmp_path: Path) -> Iterator[Stage]:
    shutil.copytree(empty, tmp_path, dirs_exist_ok=True)
    engine = make_engine(f"sqlite:///{tmp_path / 'r.db'}")
    datasets = DatasetStore(tmp_path / "data")
    services = SimpleNamespace(
        engine=engine, settings=load_settings(home=tmp_path), datasets=datasets
    )
    controller = FakeController(services)
    controller.ends.set()
    yield Stage(engine, controller)
    controller.ends.set()
    engine.dispose()


def do(stage: Stage, change: Callable[..., Any], name: str = "nightly") -> None:
    with session_scope(stage.engine) as session:
        change(session, "home", name, who="ada", reason="because")


def test_what_is_due_runs_once_and_the_next_time_is_written_with_it(stage: Stage) -> None:
    row = stage.add(every_seconds=3600, kind="individual", agents=["ease"], trials=3, seconds=90)
    scheduler = stage.scheduler()
    assert scheduler.look() is None, "not yet"
    stage.later(hours=1, seconds=5)
    stage.controller.ends.clear()
    assert scheduler.look() is not None
    assert stage.row().due_at == (row.due_at or stage.now) + timedelta(hours=1)
    assert scheduler.look() is None, "it is at work"
    stage.finish(scheduler)
    assert scheduler.look() is None, "and not due again"
    (call,) = stage.controller.calls
    assert (call["kinds"], call["agents"]) == (("individual",), ("ease",))
    assert (call["trials"], call["seconds"]) == (3, 90)
    assert stage.runs() == [("time", "done")]
    assert stage.last().cycles == {"ids": [1]}


def test_a_run_that_finds_no_cycle_due_is_done_and_says_why(stage: Stage) -> None:
    stage.add(every_seconds=3600, kind="alternating")
    stage.controller.error = NothingDue("proposal 7 waits", hint="decide it")
    scheduler = stage.scheduler()
    stage.later(hours=1, seconds=5)
    assert scheduler.look() is not None
    stage.finish(scheduler)
    assert stage.controller.calls[0]["kinds"] == "alternating"
    assert stage.runs() == [("time", "done")]
    assert (stage.last().cycles, stage.last().why) == ({"ids": []}, "proposal 7 waits (decide it)")


def test_two_leaders_at_the_same_moment_begin_one_run(stage: Stage) -> None:
    row = stage.add()
    found = []
    for holder in ("one", "two"):
        with session_scope(stage.engine) as session:
            found.append(schedules.claim(session, row, cause="time", holder=holder))
    assert [run is not None for run in found] == [True, False]
    assert stage.runs() == [("time", "running")]


def test_only_the_leader_looks_and_another_one_follows_it(stage: Stage) -> None:
    stage.add()
    first, second = stage.scheduler(), stage.scheduler()
    first.look()
    second.look()
    assert (first.leads, second.leads) == (True, False)
    stage.later(hours=2)
    assert second.look() is None
    lease.release(stage.engine, leader_lease("home"), first._holder)
    run = second.look()
    assert second.leads
    assert run is not None
    stage.finish(second)
    first.look()
    assert not first.leads


def test_nothing_begins_while_somebody_evolves_the_surface(stage: Stage) -> None:
    stage.add(every_seconds=3600, grace_seconds=600)
    scheduler = stage.scheduler()
    stage.later(hours=1, minutes=1)
    with lease.hold(stage.engine, lease_name("home"), 60):
        assert scheduler.look() is None
    stage.later(minutes=15)
    assert scheduler.look() is None
    assert stage.runs() == [("time", "missed")], "too late then"
    assert stage.controller.calls == []


def test_a_paused_schedule_does_nothing_and_makes_up_for_nothing(stage: Stage) -> None:
    stage.add()
    do(stage, edits.pause)
    with pytest.raises(Conflict, match="paused already"):
        do(stage, edits.pause)
    scheduler = stage.scheduler()
    stage.later(hours=5)
    assert scheduler.look() is None
    do(stage, edits.resume)
    assert (stage.row().due_at or stage.now) > utc_now()
    assert stage.runs() == []


def test_a_person_may_run_it_now_also_when_it_is_paused_or_blacked_out(stage: Stage) -> None:
    stage.add(every_seconds=3600, blackouts=["daily 00:00-24:00"])
    do(stage, edits.pause)
    do(stage, edits.run_now)
    scheduler = stage.scheduler()
    assert scheduler.look() is not None
    stage.finish(scheduler)
    assert stage.runs() == [("person", "done")]
    assert stage.last().why == "ada: because"
    assert scheduler.look() is None, "asked once, run once"


def test_without_a_reason_nothing_is_paused_run_or_removed(stage: Stage) -> None:
    stage.add()
    for change in (edits.pause, edits.run_now, edits.remove):
        with pytest.raises(NotAllowed, match="reason"), session_scope(stage.engine) as session:
            change(session, "home", "nightly", who="ada", reason="  ")


def test_a_blackout_is_waited_for_or_the_run_is_left_out(stage: Stage) -> None:
    stage.add("waits", every_seconds=3600, blackouts=["daily 00:00-24:00"])
    stage.add("skips", every_seconds=3600, blackouts=["daily 00:00-24:00"], in_blackout="skip")
    stage.later(hours=1, seconds=5)
    scheduler = stage.scheduler()
    assert scheduler.look() is None
    assert (stage.row("waits").start_at or stage.now) > stage.now
    assert stage.row("waits").due_at == stage.row("waits").created_at + timedelta(hours=1)
    assert stage.runs() == [("time", "refused")]
    assert (stage.last().schedule, stage.last().why) == (
        "skips",
        "left out: in a blackout window",
    )


def test_an_edit_counts_from_now_and_of_two_editors_one_is_told(stage: Stage) -> None:
    row = stage.add()
    with session_scope(stage.engine) as session:
        edited = edits.edit(
            session, "home", "nightly", {"every_seconds": 7200}, who="ada", version=row.version
        )
    assert edited.spec["every_seconds"] == 7200
    with pytest.raises(Conflict, match="meanwhile"), session_scope(stage.engine) as session:
        edits.edit(
            session, "home", "nightly", {"cron": "0 1 * * *"}, who="bob", version=row.version
        )


def test_every_change_and_every_run_is_in_the_audit_log(stage: Stage) -> None:
    stage.add()
    do(stage, edits.pause)
    do(stage, edits.run_now)
    scheduler = stage.scheduler()
    scheduler.look()
    stage.finish(scheduler)
    do(stage, edits.resume)
    do(stage, edits.remove)
    with session_scope(stage.engine) as session:
        found = [(e.who, e.action) for e in audit.entries(session)][::-1]
    assert found == [
        ("ada", "add schedule"),
        ("ada", "pause schedule"),
        ("ada", "run schedule"),
        ("schedule", "schedule runs"),
        ("schedule", "schedule: done"),
        ("ada", "resume schedule"),
        ("ada", "remove schedule"),
    ]


def test_the_setting_is_kept_as_a_row_that_only_the_setting_changes(stage: Stage) -> None:
    def follow(cron: str | None) -> ScheduleRow | None:
        edits.follow_setting(stage.engine, "home", cron)
        with session_scope(stage.engine) as session:
            return schedules.find(session, "home", "setting")

    made = follow("0 3 * * *")
    assert made is not None
    assert follow("0 3 * * *") == made, "a restart writes nothing"
    do(stage, edits.pause, "setting")
    changed = follow("0 4 * * *")
    assert changed is not None
    assert (changed.spec["cron"], changed.state) == ("0 4 * * *", "paused")
    with pytest.raises(NotAllowed, match="AGENTICRS_SCHEDULE"):
        do(stage, edits.remove, "setting")
    assert follow(None) is None
    with pytest.raises(SettingsError, match="no cron expression"):
        follow("0 99 * * *")
    with pytest.raises(AgenticRSError, match="AGENTICRS_SCHEDULE"):
        stage.add("setting", every_seconds=3600)


def event(stage: Stage, n: int) -> None:
    with session_scope(stage.engine) as session:
        feedback.append(
            session,
            "shop",
            [
                feedback.FeedbackEvent(f"{n}-{i}", "u1", "i1", 1_700_000_000, {"click": 1})
                for i in range(n)
            ],
        )


def test_enough_new_feedback_begins_a_run_and_then_it_rests(stage: Stage) -> None:
    stage.add("data", new_events=10, check_seconds=60, cooldown_seconds=3600)
    scheduler = stage.scheduler()
    assert scheduler.look() is None
    assert "no cycle has run" in stage.row("data").checked
    stage.controller.cycle("done")
    event(stage, 9)
    assert scheduler.look() is None, "it looks once in a minute"
    stage.later(minutes=1)
    assert scheduler.look() is None
    assert stage.row("data").checked.startswith("9 new")
    event(stage, 2)
    stage.later(minutes=1)
    assert scheduler.look() is not None
    stage.finish(scheduler)
    assert stage.runs() == [("data", "done")]
    assert stage.last().why == "11 new interactions since the last cycle began"
    event(stage, 20)
    stage.later(minutes=2)
    assert scheduler.look() is None, "it rests"
    stage.later(hours=1)
    assert scheduler.look() is not None
    stage.finish(scheduler)


def test_an_import_counts_as_new_data_too(stage: Stage) -> None:
    stage.add("data", new_events=10, check_seconds=60)
    stage.controller.cycle("done")
    more = generate(GeneratorConfig(n_users=25, n_items=20, seed=1)).raw
    stage.controller.services.datasets.save("shop", more)
    scheduler = stage.scheduler()
    assert scheduler.look() is not None
    stage.finish(scheduler)
    assert stage.runs() == [("data", "done")]


def test_drift_begins_a_run_and_is_looked_at_only_when_there_are_new_rows(stage: Stage) -> None:
    stage.add("drift", on_drift=True, check_seconds=60)
    stage.controller.cycle("done")
    scheduler = stage.scheduler()
    scheduler.look()
    assert stage.controller.looks == 0
    event(stage, 60)
    stage.later(minutes=1)
    assert scheduler.look() is None
    assert stage.row("drift").checked.endswith("no drift")
    stage.controller.drifted = True
    stage.later(minutes=1)
    assert scheduler.look() is not None
    stage.finish(scheduler)
    assert stage.runs() == [("drift", "done")]
    assert stage.last().why == "items have drifted (p 0.025)"


def test_a_run_of_a_process_that_died_is_begun_again_but_not_for_ever(stage: Stage) -> None:
    row = stage.add()
    with session_scope(stage.engine) as session:
        assert schedules.claim(session, row, cause="time", holder="elsewhere:1:x") is not None
    scheduler = stage.scheduler()
    stage.now = utc_now()
    assert scheduler.look() is None, "it may be about to take the surface's lease"
    stage.later(minutes=2)
    with lease.hold(stage.engine, lease_name("home"), 60):
        assert scheduler.look() is None, "it is still alive"
    assert scheduler.look() is not None
    stage.finish(scheduler)
    assert stage.runs() == [("time", "cut off"), ("taken over", "done")]
    for _ in range(3):
        with session_scope(stage.engine) as session:
            row = stage.row()
            run = schedules.claim(session, row, cause="taken over", holder="elsewhere:1:x")
            assert run is not None
            left = run
        if _ < 2:
            with session_scope(stage.engine) as session:
                schedules.finish(session, left, "cut off")
    assert scheduler.look() is None
    assert stage.runs()[-1] == ("taken over", "failed")
    with session_scope(stage.engine) as session:
        (notice,) = outbox.latest(session, "home")
    assert notice.event == "schedule.failed"


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (EvolutionError("no dataset is stored yet"), "failed", ["schedule.failed"]),
        (Conflict("another process evolves"), "refused", []),
        (RuntimeError("a bug"), "failed", ["schedule.failed"]),
    ],
)
def test_how_a_run_ends_is_written_down_and_people_hear_of_failures(
    stage: Stage, error: Exception, state: str, told: list[str]
) -> None:
    stage.add()
    stage.controller.error = error
    stage.later(hours=1, seconds=1)
    scheduler = stage.scheduler()
    scheduler.look()
    stage.finish(scheduler)
    assert stage.runs() == [("time", state)]
    assert str(error) in stage.last().why
    with session_scope(stage.engine) as session:
        assert [notice.event for notice in outbox.latest(session, "home")] == told


@pytest.mark.parametrize("error", [None, ValueError("broken")], ids=["done", "failed"])
def test_after_each_run_free_memory_is_given_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    given_back: list[bool] = []
    monkeypatch.setattr(looked_after, "give_back", lambda: given_back.append(True))
    stage.add()
    stage.controller.error = error
    stage.later(hours=1, seconds=1)
    scheduler = stage.scheduler()
    scheduler.look()
    stage.finish(scheduler)
    assert (given_back, len(stage.runs())) == ([True], 1)


@pytest.mark.parametrize("begun", [False, True])
def test_an_outage_before_anything_has_begun_is_waited_for_and_else_cuts_the_run_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    monkeypatch.setattr(outages, "WAITS", (0.0,))
    stage.add()
    evolve = stage.controller.evolve
    answers: list[Callable[..., list[int]]] = [evolve]

    def away(*_: Any, **__: Any) -> list[int]:
        if begun:
            stage.controller.cycle("running")
        monkeypatch.setattr(stage.controller, "evolve", answers.pop())
        raise TrackingAway("MLflow does not answer")

    monkeypatch.setattr(stage.controller, "evolve", away)
    stage.later(hours=1, seconds=1)
    scheduler = stage.scheduler()
    scheduler.look()
    stage.finish(scheduler)
    assert stage.runs() == [("time", "cut off" if begun else "done")]
    assert len(stage.last().cycles["ids"]) == 1


def spend(stage: Stage, seconds: float, money: float = 0.0, at: datetime | None = None) -> None:
    number = stage.controller.cycle("done")
    with session_scope(stage.engine) as session:
        trial = trials.propose(
            session,
            cycle_id=number,
            agent="ease",
            number=0,
            method="tpe",
            config={},
            seed=0,
            dataset="shop",
            fingerprint="f",
            split="leave_one_out",
            note={"cost": {"money": money}},
        )
        trial.created_at = at or trial.created_at
        trials.record_full(
            session,
            trial.id or 0,
            metrics={},
            reward=0.1,
            seconds=seconds,
            gpu_seconds=seconds / 4,
            device="cpu",
        )


def limited(stage: Stage, **limits: float) -> None:
    services = stage.controller.services
    services.settings = services.settings.model_copy(update=limits)


def test_a_cycle_gets_no_more_than_the_day_and_the_month_have_left(stage: Stage) -> None:
    limited(stage, day_seconds=100, month_gpu_seconds=50, day_llm_money=2)
    spend(stage, 40, money=0.5)
    stage.add(every_seconds=3600, seconds=1000)
    do(stage, edits.run_now)
    scheduler = stage.scheduler()
    scheduler.look()
    stage.finish(scheduler)
    (call,) = stage.controller.calls
    assert (call["seconds"], call["gpu_seconds"], call["llm_money"]) == (60, 40, 1.5)


def test_when_the_day_is_used_up_a_run_is_refused_with_the_reason(stage: Stage) -> None:
    limited(stage, day_seconds=100)
    spend(stage, 99.5)
    stage.add()
    do(stage, edits.run_now)
    scheduler = stage.scheduler()
    scheduler.look()
    stage.finish(scheduler)
    assert stage.runs() == [("person", "refused")]
    assert "99.5 of the day's 100 trial seconds are used" in stage.last().why
    assert "AGENTICRS_DAY_SECONDS" in stage.last().why
    assert stage.controller.calls == []


def test_yesterday_counts_for_the_month_and_not_for_the_day(stage: Stage) -> None:
    settings = load_settings(home=Path("x"), day_seconds=100, month_seconds=1000)
    yesterday = datetime(2027, 2, 27, 23, 59, 59, tzinfo=UTC)
    spend(stage, 30, at=yesterday)
    lefts = []
    for now in (yesterday, datetime(2027, 2, 28, tzinfo=UTC), datetime(2027, 3, 1, tzinfo=UTC)):
        found = {(a.period, a.kind): a for a in accounts(stage.engine, settings, now)}
        lefts.append((found["day", "seconds"].left, found["month", "seconds"].left))
        assert found["month", "llm_money"].left is None
    assert lefts == [(70, 970), (100, 970), (100, 1000)]
