"""Experiments: the list, one with its arms and verdict, and the forms to begin, tell and stop."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response
from starlette.responses import RedirectResponse

from agenticrs.evolution import experiments as carried_out
from agenticrs.platform.database import session_scope
from agenticrs.registry import experiments
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Key
from agenticrs.ui.api.people import Approver, Operator, Someone, check_token
from agenticrs.ui.console import curves, forest_svg
from agenticrs.ui.console.decisions import Text
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of
from agenticrs.ui.experiment_input import guardrail_of, told_in
from agenticrs.ui.experiment_view import experiment_view

router = APIRouter(include_in_schema=False)
_STEPS = 50
"""Newest steps that a page lists; the picture and the API have all."""


@router.get("/experiments")
def list_experiments(
    request: Request, someone: Someone, deps: Deps, page: PageNumber = 1
) -> Response:
    """Experiments, newest first."""
    values = experiments_list(deps, page)
    return pages_of(request).page(request, "experiments.html", person=someone, **values)


@router.get("/experiments/{number}")
def show_experiment(request: Request, someone: Someone, deps: Deps, number: Key) -> Response:
    """One: who is shared how, the interval so far, guardrails, CUPED, the verdict."""
    values = experiment_values(deps, number)
    return pages_of(request).page(request, "experiment.html", person=someone, **values)


@router.post("/experiments")
def begin(
    someone: Operator,
    deps: Deps,
    title: Text = "",
    treatment: Text = "",
    control: Text = "",
    allocation: Annotated[float, Form(gt=0, lt=1)] = 0.5,
    horizon: Annotated[int, Form(ge=1, le=10_000)] = 14,
    users: Annotated[int, Form(ge=1, le=10**9)] = 1000,
    margin: Annotated[float, Form(gt=0, le=100)] = 0.01,
    guardrails: Text = "",
    reason: Text = "",
    csrf: Text = "",
) -> Response:
    """Plan one and begin it."""
    check_token(someone.session, csrf)
    wanted = carried_out.Wanted(
        title=title.strip(),
        treatment=treatment.strip(),
        control=control.strip(),
        allocation=allocation,
        horizon=horizon,
        users=users,
        margin=margin,
        guardrails=tuple(guardrail_of(line) for line in guardrails.splitlines() if line.strip()),
    )
    where = (deps.engine, deps.tracking, deps.settings)
    row = carried_out.begin(*where, wanted, who=someone.name, reason=reason)
    return RedirectResponse(f"/experiments/{row.id}", 303)


@router.post("/experiments/{number}/observe")
def observe(
    someone: Operator,
    deps: Deps,
    number: Key,
    file: Annotated[bytes, File()] = b"",
    csrf: Text = "",
) -> Response:
    """One step: the users of a file count."""
    check_token(someone.session, csrf)
    told = told_in(file)
    carried_out.observe(deps.engine, deps.settings.surface, number, told, who=someone.name)
    return RedirectResponse(f"/experiments/{number}", 303)


@router.post("/experiments/{number}/stop")
def stop(
    someone: Approver, deps: Deps, number: Key, reason: Text = "", csrf: Text = ""
) -> Response:
    """End one without a conclusion."""
    check_token(someone.session, csrf)
    carried_out.stop(deps.engine, deps.settings.surface, number, who=someone.name, reason=reason)
    return RedirectResponse(f"/experiments/{number}", 303)


def experiments_list(deps: AppDependencies, page: int) -> dict[str, Any]:
    """What the list shows."""
    surface = deps.settings.surface
    with session_scope(deps.engine) as session:
        return {
            "table": page_of(
                lambda limit, offset: [
                    experiment_view(row)
                    for row in experiments.all_of(session, surface, limit, offset)
                ],
                total=experiments.count(session, surface),
                number=page,
                path="/experiments",
            )
        }


def experiment_values(deps: AppDependencies, number: int) -> dict[str, Any]:
    """What the page of an experiment shows. Raises NotFound."""
    with session_scope(deps.engine) as session:
        row = experiments.get(session, deps.settings.surface, number)
        view = experiment_view(row)
        return {
            "view": view,
            "why": row.reason,
            "steps": [
                (place, step | {"at": datetime.fromisoformat(step["at"])})
                for place, step in reversed(list(enumerate(row.steps, start=1))[-_STEPS:])
            ],
            "course": curves.of_experiment(row.steps),
            "picture": forest_svg.draw(view.metrics, name="gains"),
            "decisions": experiments.decisions(session, row),
        }
