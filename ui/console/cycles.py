"""Cycles: the list, and one with its progress."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Engine

from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, proposals, trials
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Key
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console import curves
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of
from agenticrs.ui.console.timeline import timeline

router = APIRouter(include_in_schema=False)
STEPS = ("sense", "plan", "propose", "evaluate", "select", "approve", "promote", "observe")
TRIALS = 100
"""Trials on a page of a cycle."""
Word = Annotated[str, Query(max_length=40)]


@router.get("/cycles")
def list_cycles(
    request: Request,
    someone: Someone,
    deps: Deps,
    state: Word = "",
    kind: Word = "",
    page: PageNumber = 1,
) -> Response:
    """Cycles, newest first."""
    values = cycles_list(deps, state, kind, page)
    return pages_of(request).page(request, "cycles.html", person=someone, **values)


@router.get("/cycles/{cycle_id}")
def show_cycle(
    request: Request,
    someone: Someone,
    deps: Deps,
    cycle_id: Key,
    page: PageNumber = 1,
) -> Response:
    """A cycle with its progress."""
    values = with_links(cycle_values(deps.engine, cycle_id, page), deps)
    return pages_of(request).page(request, "cycle.html", person=someone, **values)


def cycles_list(deps: AppDependencies, state: str, kind: str, page: int) -> dict[str, Any]:
    """What the list shows."""
    surface, only = deps.settings.surface, {"state": state or None, "kind": kind or None}
    with session_scope(deps.engine) as session:
        return {
            "table": page_of(
                lambda limit, offset: cycles.list_all(session, surface, limit, offset, **only),
                total=cycles.count(session, surface, **only),
                number=page,
                path="/cycles",
                asked={"state": state, "kind": kind},
            ),
            "states": cycles.STATES,
            "kinds": cycles.kinds(session, surface),
            "state_asked": state,
            "kind_asked": kind,
        }


def cycle_values(engine: Engine, cycle_id: int, page: int = 1) -> dict[str, Any]:
    """What the cycle's page shows. Raises NotFound."""
    with session_scope(engine) as session:
        row = cycles.get(session, cycle_id)
        begun = {step.name: step for step in cycles.steps(session, cycle_id)}
        tried = trials.of_cycle(session, cycle_id)
        proposal = proposals.of_cycle(session, cycle_id)
        decisions = proposals.decisions(session, proposal.id or 0) if proposal else []
    # Steps of a kind that this release does not know come last.
    names = [*STEPS, *(name for name in begun if name not in STEPS)]
    best: dict[str, float] = {}
    for trial in tried:
        if trial.reward is not None and trial.state == "done":
            best[trial.agent] = max(trial.reward, best.get(trial.agent, trial.reward))
    return {
        "cycle": row,
        "steps": [(name, begun.get(name)) for name in names],
        "table": page_of(
            lambda limit, offset: tried[offset : offset + limit],
            total=len(tried),
            number=page,
            path=f"/cycles/{cycle_id}",
            size=TRIALS,
        ),
        "curves": curves.of_cycle(tried),
        "training": curves.of_training(tried),
        "best": best,
        "states": {s: sum(t.state == s for t in tried) for s in sorted({t.state for t in tried})},
        "seconds": sum(trial.seconds for trial in tried),
        "proposal": proposal,
        "log": timeline(row, list(begun.values()), tried, decisions),
    }


def with_links(values: dict[str, Any], deps: AppDependencies) -> dict[str, Any]:
    """The values with where MLflow shows each run, for those trials that have one."""
    rows = values["table"].rows
    found = {row.id: deps.tracking.run_url(row.run_id) for row in rows if row.run_id}
    return values | {"runs": {number: link for number, link in found.items() if link}}
