"""Schedules: when cycles begin next, what they did, what may be spent; and the forms to change it.

A form that is refused comes back as it was filled in, with what is wrong beside each field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from sqlmodel import Session
from starlette.responses import RedirectResponse

from agenticrs.evolution.scheduling import edits
from agenticrs.evolution.scheduling.spec import NAME, InvalidSchedule, ScheduleSpec
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict
from agenticrs.registry import schedules
from agenticrs.registry.tables import ScheduleRunRow
from agenticrs.ui.api.credentials import Person
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Registry
from agenticrs.ui.api.people import Operator, Someone, check_token
from agenticrs.ui.console.decisions import Text
from agenticrs.ui.console.paging import Page, PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of
from agenticrs.ui.schedule_view import overview, view

router = APIRouter(include_in_schema=False)
Name = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]
_DEFAULTS = ScheduleSpec(on_drift=True).model_copy(update={"on_drift": False})
RUNS = 30
"""Runs on a page."""


async def filled_in(request: Request) -> dict[str, str]:
    """What a form holds; files are left out."""
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


Filled = Annotated[dict[str, str], Depends(filled_in)]


@router.get("/schedules")
def list_schedules(
    request: Request, someone: Someone, deps: Deps, page: PageNumber = 1
) -> Response:
    """All schedules, what they did, the budget, and the form for a new one."""
    return _list(request, someone, deps, _shown(_DEFAULTS), {}, page)


@router.post("/schedules")
def add_schedule(
    request: Request, someone: Operator, deps: Deps, filled: Filled, csrf: Text = ""
) -> Response:
    """Add one, or say what is wrong with it."""
    check_token(someone.session, csrf)
    name = filled.get("name", "").strip()
    try:
        with session_scope(deps.engine) as session:
            edits.add(
                session,
                deps.settings.surface,
                name,
                _values(filled),
                who=someone.name,
                reason=filled.get("reason", "").strip()[: schedules.LONGEST_REASON],
            )
    except InvalidSchedule as error:
        return _list(request, someone, deps, filled, error.fields)
    except Conflict as error:
        return _list(request, someone, deps, filled, {"name": error.message})
    return RedirectResponse(f"/schedules/{name}", 303)


@router.get("/schedules/{name}")
def show_schedule(
    request: Request,
    someone: Someone,
    deps: Deps,
    session: Registry,
    name: Name,
    page: PageNumber = 1,
) -> Response:
    """One schedule: what it says, its next times, what it did, and the forms to change it."""
    row = schedules.get(session, deps.settings.surface, name)
    form = {**_shown(ScheduleSpec.model_validate(row.spec)), "version": str(row.version)}
    return _one(request, someone, deps, name, form, {}, page)


@router.post("/schedules/{name}/edit")
def edit_schedule(
    request: Request,
    someone: Operator,
    deps: Deps,
    name: Name,
    filled: Filled,
    csrf: Text = "",
) -> Response:
    """Give it another spec, or say what is wrong with that."""
    check_token(someone.session, csrf)
    version = filled.get("version", "")
    try:
        with session_scope(deps.engine) as session:
            edits.edit(
                session,
                deps.settings.surface,
                name,
                _values(filled),
                who=someone.name,
                reason=filled.get("reason", "").strip()[: schedules.LONGEST_REASON],
                version=int(version) if version.isascii() and version.isdecimal() else -1,
            )
    except InvalidSchedule as error:
        return _one(request, someone, deps, name, filled, error.fields)
    return RedirectResponse(f"/schedules/{name}", 303)


@router.post("/schedules/{name}/{change}")
def change_schedule(
    someone: Operator,
    deps: Deps,
    name: Name,
    change: Literal["pause", "resume", "run", "remove"],
    reason: Text = "",
    csrf: Text = "",
) -> Response:
    """Pause, resume, run now or remove, with a reason."""
    check_token(someone.session, csrf)
    carried_out = {
        "pause": edits.pause,
        "resume": edits.resume,
        "run": edits.run_now,
        "remove": edits.remove,
    }[change]
    with session_scope(deps.engine) as session:
        carried_out(session, deps.settings.surface, name, who=someone.name, reason=reason)
    return RedirectResponse("/schedules" if change == "remove" else f"/schedules/{name}", 303)


def schedules_list(deps: AppDependencies, page: int = 1) -> dict[str, Any]:
    """What the list shows besides the form."""
    with session_scope(deps.engine) as session:
        table = _runs(session, deps.settings.surface, None, page)
    return {"found": overview(deps.engine, deps.settings, runs=0), "table": table}


def schedule_values(deps: AppDependencies, name: str, page: int = 1) -> dict[str, Any]:
    """What the page of a schedule shows besides the form to edit it. Raises NotFound."""
    surface = deps.settings.surface
    with session_scope(deps.engine) as session:
        row = schedules.get(session, surface, name)
        last = next(iter(schedules.runs(session, surface, name, limit=1)), None)
        table = _runs(session, surface, name, page)
    return {
        "view": view(row, last),
        "table": table,
        "leader": overview(deps.engine, deps.settings, runs=0).leader,
        "by_setting": row.origin == edits.SETTING,
    }


def _runs(session: Session, surface: str, name: str | None, page: int) -> Page[ScheduleRunRow]:
    return page_of(
        lambda limit, offset: schedules.runs(session, surface, name, limit, offset),
        total=schedules.count_runs(session, surface, name),
        number=page,
        path="/schedules" if name is None else f"/schedules/{name}",
        size=RUNS,
    )


def _list(
    request: Request,
    someone: Person,
    deps: AppDependencies,
    form: Mapping[str, str],
    problems: Mapping[str, str],
    page: int = 1,
) -> Response:
    return pages_of(request).page(
        request,
        "schedules.html",
        person=someone,
        status=422 if problems else 200,
        form=form,
        problems=problems,
        **schedules_list(deps, page),
    )


def _one(
    request: Request,
    someone: Person,
    deps: AppDependencies,
    name: str,
    form: Mapping[str, str],
    problems: Mapping[str, str],
    page: int = 1,
) -> Response:
    return pages_of(request).page(
        request,
        "schedule.html",
        person=someone,
        status=422 if problems else 200,
        form=form,
        problems=problems,
        **schedule_values(deps, name, page),
    )


def _shown(spec: ScheduleSpec) -> dict[str, str]:
    """A spec as a form shows it: nothing for what is not set, one window a line."""
    found: dict[str, str] = {}
    for name, value in spec.model_dump(mode="json").items():
        if isinstance(value, bool):
            found[name] = "yes" if value else ""
        elif isinstance(value, list):
            found[name] = ("\n" if name == "blackouts" else ", ").join(value)
        elif isinstance(value, float):
            found[name] = f"{value:g}" if value != int(value) else str(int(value))
        else:
            found[name] = "" if value is None else str(value)
    return found


def _values(filled: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a spec in a form; what is empty is left out, a box that is not ticked is no."""
    values: dict[str, Any] = {
        name: filled[name].strip()
        for name in ScheduleSpec.model_fields
        if filled.get(name, "").strip()
    }
    values["blackouts"] = [t.strip() for t in filled.get("blackouts", "").splitlines() if t.strip()]
    values["agents"] = [t.strip() for t in filled.get("agents", "").split(",") if t.strip()]
    for name in ("coalesce", "on_drift"):
        values[name] = bool(filled.get(name))
    return values
