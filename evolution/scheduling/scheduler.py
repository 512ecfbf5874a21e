"""Carries out a surface's schedules: in one process at a time, which holds the leader's lease.

The leader looks every other second: what a person wants now, what is due, what new data or drift
demand. Each run is written down in the same transaction as the schedule's next time, so it begins
once, however many processes look. Runs go one after the other, in a thread of their own.

When a leader dies its lease runs out and another process leads. A run that it had begun counts as
cut off as soon as nobody evolves the surface, and is begun again: the cycle goes on from its last
row. Whether a cycle may write at all is decided by the surface's own lease, not by this one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agenticrs.evolution import outages
from agenticrs.evolution.alternation import NothingDue
from agenticrs.evolution.controller import Controller, lease_name
from agenticrs.evolution.request import KINDS
from agenticrs.evolution.scheduling import plan, triggers
from agenticrs.evolution.scheduling.allowance import Allowance, UsedUp
from agenticrs.evolution.scheduling.spec import ScheduleSpec
from agenticrs.platform.allocator import give_back
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgenticRSError, Conflict, LeaseLost
from agenticrs.platform.logs import get_logger
from agenticrs.registry import cycles, lease, schedules
from agenticrs.registry.schedules import Cause, RunState
from agenticrs.registry.tables import ScheduleRow, ScheduleRunRow, utc_now

LOOK_SECONDS = 2.0
LEADER_SECONDS = 20.0
"""How long the leader's lease lasts; a leader that dies is followed after that."""
_YOUNG = timedelta(seconds=60)
"""A run that began just now may not have got its surface's lease yet."""
_PATIENCE = 5.0
"""Seconds that a look may take to end when it stops."""
_TAKE_OVERS = 3
"""A run that has killed its process so many times in a row is not begun again."""
_log = get_logger(__name__)


def leader_lease(surface: str) -> str:
    """Name of the lease of who carries out the surface's schedules."""
    return f"schedules:{surface}"


@dataclass(frozen=True)
class _Start:
    """A run that may begin: what is written into the schedule's row with it."""

    cause: Cause
    why: str
    due: datetime | None
    columns: dict[str, Any]


class Scheduler:
    """Looks in a thread between ``start`` and ``stop``; ``look`` is one look, for tests."""

    def __init__(
        self,
        controller: Controller,
        *,
        look_seconds: float = LOOK_SECONDS,
        leader_seconds: float = LEADER_SECONDS,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._controller = controller
        self._engine = controller.services.engine
        self._look_seconds = look_seconds
        self._leader_seconds = leader_seconds
        self._clock = clock
        self._holder = lease.new_holder()
        self._leads = False
        self._stopped = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._follow, name="schedules", daemon=True)

    @property
    def at_work(self) -> bool:
        """Whether a run of ours is under way."""
        return not self._idle.is_set()

    @property
    def leads(self) -> bool:
        """Whether this process carried out the schedules at its last look."""
        return self._leads

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a run goes on, and the leader's lease is given back. Safe to repeat."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def wait(self, seconds: float) -> bool:
        """Wait until no run is at work; return whether that came about."""
        return self._idle.wait(seconds)

    def look(self) -> ScheduleRunRow | None:
        """Begin what there is to begin, in a thread; return it."""
        run = self._look()
        if run is not None:
            self._idle.clear()
            threading.Thread(target=self._work, args=(run,), name="evolve", daemon=True).start()
        return run

    def _follow(self) -> None:
        while not self._stopped.is_set():
            try:
                self.look()
            except Exception as error:  # the database is away: the next look comes
                _log.error("schedules were not looked at", error=str(error))
            self._stopped.wait(self._look_seconds)
        if self._leads:
            self._leads = False
            lease.release(self._engine, leader_lease(self._controller.surface), self._holder)

    def _look(self) -> ScheduleRunRow | None:
        surface = self._controller.surface
        name = leader_lease(surface)
        lease.release_if_dead(self._engine, name)
        # Who follows only reads: a write that must fail would be in the database's log for ever.
        leads = (self._leads or not lease.is_held(self._engine, name)) and lease.acquire(
            self._engine, name, self._holder, self._leader_seconds
        )
        if leads != self._leads:
            _log.info("schedules are carried out here" if leads else "another process leads")
        self._leads = leads
        if not leads or self.at_work or lease.is_held(self._engine, lease_name(surface)):
            return None
        return self._taken_over() or self._next()

    def _taken_over(self) -> ScheduleRunRow | None:
        """Begin a run again whose process has died; nobody evolves the surface now."""
        with session_scope(self._engine) as session:
            left = schedules.running(session, self._controller.surface)
        for old in left:
            dead = lease.is_dead(old.holder)
            if not dead and self._clock() - old.started_at < _YOUNG:
                continue
            why = f"{old.holder} died, or lost its lease, during run {old.id}"
            with session_scope(self._engine) as session:
                recent = schedules.runs(session, old.surface, old.schedule, limit=_TAKE_OVERS)
                again = [run.cause for run in recent] != ["taken over"] * _TAKE_OVERS
                if not again:
                    why += f"; begun again {_TAKE_OVERS} times, and not once more"
                ended: RunState = "cut off" if again else "failed"
                if not schedules.finish(session, old, ended, why=why, tell=not again):
                    continue
                row = schedules.find(session, old.surface, old.schedule)
                if row is None or not again:
                    continue
                return schedules.claim(
                    session, row, cause="taken over", holder=self._holder, why=why
                )
        return None

    def _next(self) -> ScheduleRunRow | None:
        with session_scope(self._engine) as session:
            rows = schedules.list_all(session, self._controller.surface)
        for row in rows:
            try:
                spec = ScheduleSpec.model_validate(row.spec)
            except ValueError as error:  # of another release
                _log.error("schedule is not understood", schedule=row.name, error=str(error))
                continue
            start = self._asked(row) or self._due(row, spec) or self._triggered(row, spec)
            if start is None:
                continue
            with session_scope(self._engine) as session:
                run = schedules.claim(
                    session,
                    row,
                    cause=start.cause,
                    holder=self._holder,
                    why=start.why,
                    of=start.due,
                    **start.columns,
                )
            if run is not None:
                return run
        return None

    def _asked(self, row: ScheduleRow) -> _Start | None:
        """A person wants it now: neither a pause nor a blackout stands against that."""
        if not row.asked_by:
            return None
        why = f"{row.asked_by}: {row.asked_why}"
        return _Start("person", why, None, {"asked_by": "", "asked_why": ""})

    def _due(self, row: ScheduleRow, spec: ScheduleSpec) -> _Start | None:
        if row.state != "active" or row.due_at is None or row.start_at is None:
            return None
        now = self._clock()
        found = plan.plan(spec, row.name, row.created_at, row.due_at, row.start_at, now)
        if found is None:
            return None
        columns = {"due_at": found.due, "start_at": found.start}
        if found.run is not None:
            skipped = f"{found.left_out} left out: {found.why}" if found.left_out else ""
            return _Start("time", skipped, found.run, columns)
        with session_scope(self._engine) as session:
            if schedules.move(session, row, **columns) and found.left_out:
                many = f"{found.left_out} runs are left out" if found.left_out > 1 else "left out"
                state: RunState = "refused" if "blackout" in found.why else "missed"
                schedules.note(session, row, state, f"{many}: {found.why}", due_at=row.due_at)
        return None

    def _triggered(self, row: ScheduleRow, spec: ScheduleSpec) -> _Start | None:
        if row.state != "active" or not triggers.due_for_a_look(row, spec, self._clock()):
            return None
        if spec.blackout_end(self._clock()) is not None:
            return None
        try:
            seen = triggers.look(self._controller, spec)
        except AgenticRSError as error:
            seen = triggers.Seen(None, str(error))
        columns = {"checked_at": self._clock(), "checked": seen.words}
        if seen.cause is not None:
            return _Start(seen.cause, seen.words, None, {**columns, "fired_at": self._clock()})
        with session_scope(self._engine) as session:
            schedules.move(session, row, **columns)
        return None

    def _work(self, run: ScheduleRunRow) -> None:
        """Evolve, and write down how it ended; cut off, the row stays as it is."""

        def finish() -> None:
            with session_scope(self._engine) as session:
                schedules.finish(session, run, state, why=why, cycles=done, tell=tell)

        try:
            state, why, done, tell = outages.through(lambda: self._evolved(run), pause=self._pause)
            outages.through(finish, pause=self._pause)
        except SystemExit:
            pass  # the process is ending, which has been told
        except Exception as error:  # the edge of a thread: nothing may be lost
            _log.exception("scheduled run failed", schedule=run.schedule, error=str(error))
        finally:
            give_back()  # a run leaves much that is free, and the process lives on
            self._idle.set()

    def _evolved(self, run: ScheduleRunRow) -> tuple[RunState, str, list[int], bool]:
        """How it ended, why, which cycles ran, and whether people should hear of it."""
        spec = ScheduleSpec.model_validate(run.spec)
        services = self._controller.services
        _log.info("scheduled run begins", schedule=run.schedule, cause=run.cause)
        before = self._newest_cycle()
        try:
            done = self._controller.evolve(
                KINDS[spec.kind],
                agents=spec.agents,
                trials=spec.trials,
                seconds=spec.seconds,
                gpu_seconds=spec.gpu_seconds,
                trim=Allowance(services.engine, services.settings, self._clock).trim,
                who=_asker(run),
            )
            return "done", "", done, False
        except LeaseLost as error:
            return "cut off", str(error), self._cycles_since(before), False
        except Conflict as error:
            return "refused", str(error), self._cycles_since(before), False
        except (NothingDue, UsedUp) as error:
            ran = self._cycles_since(before)
            fine = ran or isinstance(error, NothingDue)
            return ("done" if fine else "refused"), str(error), ran, False
        except Exception as error:  # how a run ends is its outcome
            ran = self._cycles_since(before)
            if outages.is_outage(error):
                if not ran:
                    raise  # nothing has begun: tried again
                return "cut off", str(error), ran, False
            why = (
                str(error)
                if isinstance(error, AgenticRSError)
                else f"{type(error).__name__}: {error}"
            )
            _log.error("scheduled run failed", schedule=run.schedule, error=why)
            return "failed", why, ran, not self._has_failed(ran)

    def _pause(self, seconds: float) -> None:
        self._stopped.wait(seconds)

    def _newest_cycle(self) -> int:
        with session_scope(self._engine) as session:
            rows = cycles.list_all(session, self._controller.surface, limit=1)
        return next((row.id or 0 for row in rows), 0)

    def _cycles_since(self, before: int) -> list[int]:
        with session_scope(self._engine) as session:
            rows = cycles.list_all(session, self._controller.surface)
        return sorted(row.id or 0 for row in rows if (row.id or 0) > before)

    def _has_failed(self, numbers: list[int]) -> bool:
        """Whether a failed cycle has told people already."""
        with session_scope(self._engine) as session:
            return any(cycles.get(session, number).state == "failed" for number in numbers)


def _asker(run: ScheduleRunRow) -> str:
    """Who asked for the run: a person who said why (names hold no colon), or nobody."""
    return run.why.partition(":")[0] if run.cause == "person" else "schedule"
