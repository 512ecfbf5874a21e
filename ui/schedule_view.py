"""A schedule as commands, the API and the console show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Engine

from agenticrs.evolution.controller import lease_name
from agenticrs.evolution.scheduling.allowance import Account, accounts
from agenticrs.evolution.scheduling.scheduler import leader_lease
from agenticrs.evolution.scheduling.spec import ScheduleSpec, span
from agenticrs.platform.database import session_scope
from agenticrs.platform.settings import Settings
from agenticrs.registry import lease, schedules
from agenticrs.registry.tables import ScheduleRow, ScheduleRunRow, utc_now

_SHOWN = 5


@dataclass(frozen=True)
class ScheduleView:
    """A schedule, the times at which it begins next, and what it did last."""

    row: ScheduleRow
    spec: ScheduleSpec
    next: tuple[datetime, ...]
    last: ScheduleRunRow | None

    @property
    def when(self) -> str:
        """When it begins, in words."""
        return self.spec.in_words()

    @property
    def rules(self) -> tuple[tuple[str, str], ...]:
        """What each of its runs keeps to: a name and words, those that are set."""
        spec, found = self.spec, []
        if spec.blackouts:
            after = "waits for the end" if spec.in_blackout == "wait" else "is left out"
            found.append(("never in", f"{', '.join(spec.blackouts)}; a run {after}"))
        if spec.jitter_seconds:
            found.append(("begins late by", f"up to {span(spec.jitter_seconds)}"))
        due = "only the last of several runs" if spec.coalesce else "each of several runs"
        found.append(("when late", f"{due}, up to {span(spec.grace_seconds)}"))
        if spec.new_events or spec.on_drift:
            looks = (
                f"every {span(spec.check_seconds)}; rests {span(spec.cooldown_seconds)} after a run"
            )
            found.append(("looks at the data", looks))
        if spec.agents:
            found.append(("agents", ", ".join(spec.agents)))
        caps = (("candidates", spec.trials), ("s", spec.seconds), ("GPU-s", spec.gpu_seconds))
        told = [f"{cap:g} {unit}" for unit, cap in caps if cap is not None]
        found.append(("budget of a cycle", ", ".join(told) or "as the settings say"))
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.row.name,
            "state": self.row.state,
            "origin": self.row.origin,
            "version": self.row.version,
            "when": self.when,
            "spec": self.spec.model_dump(mode="json"),
            "next": [at.isoformat() for at in self.next],
            "asked_by": self.row.asked_by,
            "checked": self.row.checked,
            "checked_at": self.row.checked_at and self.row.checked_at.isoformat(),
            "last": None if self.last is None else run_dict(self.last),
        }


@dataclass(frozen=True)
class Overview:
    """All schedules of a surface, what they may spend, and who carries them out."""

    schedules: tuple[ScheduleView, ...]
    runs: tuple[ScheduleRunRow, ...]
    budget: tuple[Account, ...]
    leader: str | None
    """Which process carries them out; None: nobody does now."""
    evolving: bool
    """Whether somebody evolves the surface now."""


def overview(engine: Engine, settings: Settings, *, runs: int = 20) -> Overview:
    """What there is now."""
    surface = settings.surface
    with session_scope(engine) as session:
        rows = schedules.list_all(session, surface)
        recent = schedules.runs(session, surface, limit=runs)
        last = {
            row.name: next(iter(schedules.runs(session, surface, row.name, limit=1)), None)
            for row in rows
        }
    leads = lease.is_held(engine, leader_lease(surface))
    return Overview(
        schedules=tuple(view(row, last[row.name]) for row in rows),
        runs=tuple(recent),
        budget=tuple(accounts(engine, settings, utc_now())),
        leader=lease.holder_of(engine, leader_lease(surface)) if leads else None,
        evolving=lease.is_held(engine, lease_name(surface)),
    )


def view(row: ScheduleRow, last: ScheduleRunRow | None) -> ScheduleView:
    """One schedule."""
    spec = ScheduleSpec.model_validate(row.spec)
    upcoming: tuple[datetime, ...] = ()
    if row.state == "active" and row.start_at is not None:
        after = max(row.due_at or row.start_at, utc_now())
        later = islice(spec.upcoming(after, row.created_at, row.name), _SHOWN - 1)
        upcoming = tuple(dict.fromkeys((spec.blackout_end(row.start_at) or row.start_at, *later)))
    return ScheduleView(row, spec, upcoming, last)


def run_dict(run: ScheduleRunRow) -> dict[str, Any]:
    """What a schedule did, for programs."""
    return {
        "run": run.id,
        "schedule": run.schedule,
        "cause": run.cause,
        "state": run.state,
        "why": run.why,
        "cycles": run.cycles.get("ids", []),
        "due_at": run.due_at and run.due_at.isoformat(),
        "started_at": run.started_at.isoformat(),
        "finished_at": run.finished_at and run.finished_at.isoformat(),
    }


def account_dict(account: Account) -> dict[str, Any]:
    """A budget, for programs."""
    return {
        "period": account.period,
        "kind": account.kind,
        "spent": round(account.spent, 6),
        "limit": account.limit,
        "left": account.left,
    }
