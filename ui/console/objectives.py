"""Business objectives: the weights that hold, what was proposed, the decision of a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from agenticrs.platform.errors import NotAllowed
from agenticrs.registry import objectives
from agenticrs.ui.api.dependencies import Deps, Key, Registry
from agenticrs.ui.api.people import Approver, Someone, check_token
from agenticrs.ui.console.decisions import Text
from agenticrs.ui.console.evidence_view import comparison_view, mapping
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of
from agenticrs.ui.objective_view import held_weights

router = APIRouter(include_in_schema=False)
_EXPERIMENT = {"worth": "What it is worth later", "risk": "Risk"}


@router.get("/objectives")
def show_objectives(
    request: Request, someone: Someone, deps: Deps, session: Registry, page: PageNumber = 1
) -> Response:
    """The weights that hold, and every proposal, newest first."""
    surface = deps.settings.surface
    return pages_of(request).page(
        request,
        "objectives.html",
        person=someone,
        held=held_weights(session, deps.settings),
        waiting=objectives.waiting(session, surface),
        table=page_of(
            lambda limit, offset: objectives.list_all(session, surface, limit, offset),
            total=objectives.count(session, surface),
            number=page,
            path="/objectives",
        ),
    )


@router.get("/objectives/{number}")
def show_proposed(
    request: Request, someone: Someone, deps: Deps, session: Registry, number: Key
) -> Response:
    """Proposed weights with what the experiment found, and the form to decide."""
    row = objectives.get(session, deps.settings.surface, number)
    evidence = row.evidence if isinstance(row.evidence, Mapping) else {}
    return pages_of(request).page(
        request,
        "objective.html",
        person=someone,
        row=row,
        names=list(dict.fromkeys([*row.before, *row.after])),
        evidence=evidence,
        trust=mapping(evidence.get("trust")),
        comparisons=[
            comparison_view(name, title, mapping(evidence[name]))
            for name, title in _EXPERIMENT.items()
            if mapping(evidence.get(name))
        ],
    )


@router.post("/objectives/{number}/decide")
def decide(
    someone: Approver,
    deps: Deps,
    session: Registry,
    number: Key,
    verdict: Text = "",
    reason: Text = "",
    csrf: Text = "",
) -> Response:
    """Approve or reject weights that wait."""
    check_token(someone.session, csrf)
    if verdict not in ("approve", "reject"):
        raise NotAllowed("a decision is approve or reject", hint="use the page's buttons")
    objectives.decide(
        session,
        deps.settings.surface,
        number,
        verdict=cast(Literal["approve", "reject"], verdict),
        who=someone.name,
        reason=reason,
    )
    return RedirectResponse(f"/objectives/{number}", 303)


@router.post("/objectives/reset")
def reset(
    someone: Approver, deps: Deps, session: Registry, reason: Text = "", csrf: Text = ""
) -> Response:
    """Let the weights of the settings hold again."""
    check_token(someone.session, csrf)
    objectives.reset(session, deps.settings.surface, who=someone.name, reason=reason)
    return RedirectResponse("/objectives", 303)
