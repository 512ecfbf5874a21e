"""``/v1/schedules`` and ``/v1/budget``: when cycles begin by themselves, and what they may spend.

Whoever is logged in may look; changes need an operator.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from agenticrs.evolution.scheduling import edits
from agenticrs.evolution.scheduling.spec import NAME, ScheduleSpec
from agenticrs.registry import schedules
from agenticrs.registry.tables import ScheduleRow
from agenticrs.ui.api import models
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Needs, Operator
from agenticrs.ui.schedule_view import account_dict, overview, run_dict, view

router = APIRouter(prefix="/v1", tags=["schedules"], dependencies=[Depends(Needs("viewer"))])
_PATTERN = f"^{NAME.pattern}$"
Name = Annotated[str, Path(pattern=_PATTERN)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunPublic(_Frozen):
    """What a schedule did, or did not do, and why."""

    run: int
    schedule: str
    cause: str
    state: str
    why: str
    cycles: list[int]
    due_at: datetime | None
    started_at: datetime
    finished_at: datetime | None


class SchedulePublic(_Frozen):
    """A schedule, when it begins next, and what it did last."""

    name: str
    state: str
    origin: str = Field(description="person, or setting (AGENTICRS_SCHEDULE).")
    version: int = Field(description="Counts the changes; a change may say which it has seen.")
    when: str
    spec: ScheduleSpec
    next: list[datetime]
    asked_by: str = Field(description="Who wants it to run now; empty when nobody does.")
    checked: str = Field(description="What was seen of new data and drift.")
    checked_at: datetime | None
    last: RunPublic | None


class AccountPublic(_Frozen):
    """What is spent of a budget; ``limit`` None: there is none."""

    period: str
    kind: str
    spent: float
    limit: float | None
    left: float | None


class NewSchedule(_Frozen):
    """A schedule to add."""

    name: Annotated[str, Field(pattern=_PATTERN)]
    spec: ScheduleSpec
    reason: Annotated[str, Field(max_length=2000)] = ""


class ChangedSchedule(_Frozen):
    """The whole spec that it shall have."""

    spec: ScheduleSpec
    version: int | None = Field(
        default=None, ge=0, le=2**53, description="Refused when it is another one."
    )
    reason: Annotated[str, Field(max_length=2000)] = ""


@router.get("/schedules")
def list_schedules(deps: Deps) -> list[SchedulePublic]:
    """The surface's schedules by name."""
    found = overview(deps.engine, deps.settings)
    return [SchedulePublic.model_validate(one.as_dict()) for one in found.schedules]


@router.post("/schedules", status_code=201)
def add_schedule(
    wanted: NewSchedule, deps: Deps, session: Registry, who: Operator
) -> SchedulePublic:
    """Add a schedule."""
    row = edits.add(
        session,
        deps.settings.surface,
        wanted.name,
        wanted.spec.model_dump(mode="json"),
        who=who.name,
        reason=wanted.reason,
    )
    return _public(session, row)


@router.get("/schedules/{name}")
def get_schedule(name: Name, deps: Deps, session: Registry) -> SchedulePublic:
    """One schedule."""
    return _public(session, schedules.get(session, deps.settings.surface, name))


@router.put("/schedules/{name}")
def edit_schedule(
    name: Name, wanted: ChangedSchedule, deps: Deps, session: Registry, who: Operator
) -> SchedulePublic:
    """Give it another spec; its next time counts from now."""
    row = edits.edit(
        session,
        deps.settings.surface,
        name,
        wanted.spec.model_dump(mode="json"),
        who=who.name,
        reason=wanted.reason,
        version=wanted.version,
    )
    return _public(session, row)


@router.delete("/schedules/{name}")
def remove_schedule(
    name: Name,
    deps: Deps,
    session: Registry,
    who: Operator,
    reason: Annotated[str, Query(min_length=1, max_length=2000)],
) -> dict[str, str]:
    """Remove it; what it did stays."""
    edits.remove(session, deps.settings.surface, name, who=who.name, reason=reason)
    return {"removed": name}


@router.post("/schedules/{name}/pause")
def pause_schedule(
    name: Name, said: models.DecisionRequest, deps: Deps, session: Registry, who: Operator
) -> SchedulePublic:
    """Let nothing begin by it until it is resumed."""
    row = edits.pause(session, deps.settings.surface, name, who=who.name, reason=said.reason)
    return _public(session, row)


@router.post("/schedules/{name}/resume")
def resume_schedule(
    name: Name, said: models.DecisionRequest, deps: Deps, session: Registry, who: Operator
) -> SchedulePublic:
    """Let it go on; what would have run meanwhile is not made up for."""
    row = edits.resume(session, deps.settings.surface, name, who=who.name, reason=said.reason)
    return _public(session, row)


@router.post("/schedules/{name}/run")
def run_schedule(
    name: Name, said: models.DecisionRequest, deps: Deps, session: Registry, who: Operator
) -> SchedulePublic:
    """Ask for a run now, also when it is paused or in a blackout."""
    row = edits.run_now(session, deps.settings.surface, name, who=who.name, reason=said.reason)
    return _public(session, row)


@router.get("/schedules/{name}/runs")
def list_runs(
    name: Name, deps: Deps, session: Registry, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[RunPublic]:
    """What a schedule did, newest first; also of one that has been removed."""
    found = schedules.runs(session, deps.settings.surface, name, limit)
    return [RunPublic.model_validate(run_dict(run)) for run in found]


@router.get("/budget")
def show_budget(deps: Deps) -> list[AccountPublic]:
    """What the surface has spent of its day and its month (UTC)."""
    return [
        AccountPublic.model_validate(account_dict(one))
        for one in overview(deps.engine, deps.settings, runs=1).budget
    ]


def _public(session: Registry, row: ScheduleRow) -> SchedulePublic:
    last = next(iter(schedules.runs(session, row.surface, row.name, limit=1)), None)
    found: dict[str, Any] = view(row, last).as_dict()
    return SchedulePublic.model_validate(found)
