"""Agents and tools: the list, and one with its declaration, report, space and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from agenticrs.evolution.importance import LEAST, importances
from agenticrs.evolution.methods.points import flat
from agenticrs.registry import agents, promotion, trials, versions
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import TrialRow
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console import curves
from agenticrs.ui.console.lineage import lineage
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)


@router.get("/agents")
def list_agents(request: Request, someone: Someone, deps: Deps, session: Registry) -> Response:
    """Agents and tools."""
    surface = deps.settings.surface
    serving = promotion.serving(session, surface)
    return pages_of(request).page(
        request,
        "agents.html",
        person=someone,
        rows=agents.list_all(session),
        counts=versions.counts(session, surface),
        inside=Graph.model_validate(serving.graph).agents() if serving else {},
    )


@router.get("/agents/{name}")
def show_agent(
    request: Request,
    someone: Someone,
    deps: Deps,
    session: Registry,
    name: str,
    page: PageNumber = 1,
) -> Response:
    """An agent: declaration, admission report, rewards, decision space, lineage, versions."""
    surface = deps.settings.surface
    row = agents.get(session, name)
    numbers = versions.of_agent(session, surface, name)
    tried = trials.of_agent(session, surface, name)
    serving = promotion.serving(session, surface)
    return pages_of(request).page(
        request,
        "agent.html",
        person=someone,
        row=row,
        spec=row.spec,
        checks=row.admission.get("checks", []),
        table=page_of(
            lambda limit, offset: numbers[offset : offset + limit],
            total=len(numbers),
            number=page,
            path=f"/agents/{name}",
            size=20,
        ),
        history=curves.of_agent(tried, numbers),
        trees=lineage(numbers, {trial.id or 0: trial for trial in tried}),
        importances=importances(tried, _names(row.spec, tried)),
        finished=sum(trial.state == "done" for trial in tried),
        least=LEAST,
        inside=Graph.model_validate(serving.graph).agents().get(name) if serving else None,
        links={v.number: deps.tracking.version_url(v.model, v.number) for v in numbers},
        runs={v.number: deps.tracking.run_url(v.run_id) for v in numbers if v.run_id},
    )


def _names(spec: Mapping[str, Any], tried: Sequence[TrialRow]) -> list[str]:
    """The parameters that a candidate has a value for; one for each input is ``name.<input>``."""
    space = spec.get("space") or {}
    declared = {parameter["name"]: parameter["type"] for parameter in space.get("parameters", ())}
    seen = dict.fromkeys(name for trial in tried for name in flat(trial.config))
    inputs = [name for name in seen if declared.get(name.partition(".")[0]) == "per_input"]
    return [*(name for name, kind in declared.items() if kind != "per_input"), *inputs]
