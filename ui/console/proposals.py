"""Proposals: the list, and one with everything that a decision may rest on."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from agenticrs.platform.database import session_scope
from agenticrs.registry import compositions, policies, proposals
from agenticrs.ui.api.credentials import Person
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Key
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console.difference import difference_view
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)


@router.get("/proposals")
def list_proposals(
    request: Request, someone: Someone, deps: Deps, page: PageNumber = 1
) -> Response:
    """Proposals, newest first."""
    values = list_values(deps, page)
    return pages_of(request).page(request, "proposals.html", person=someone, **values)


@router.get("/proposals/{proposal_id}")
def show_proposal(
    request: Request,
    someone: Someone,
    deps: Deps,
    proposal_id: Key,
) -> Response:
    """A proposal: graphs before and after, rewards, guardrails, cost, the decision."""
    values = proposal_values(deps, proposal_id, someone)
    return pages_of(request).page(request, "proposal.html", person=someone, **values)


def list_values(deps: AppDependencies, page: int) -> dict[str, Any]:
    """What the list shows."""
    with session_scope(deps.engine) as session:
        surface = deps.settings.surface
        table = page_of(
            lambda limit, offset: proposals.list_all(session, surface, limit=limit, offset=offset),
            total=proposals.count(session, surface),
            number=page,
            path="/proposals",
        )
        return {
            "table": table,
            "stale": {row.id: proposals.why_stale(session, row) for row in table.rows},
        }


def proposal_values(deps: AppDependencies, proposal_id: int, someone: Person) -> dict[str, Any]:
    """What the page of a proposal shows to that person. Raises NotFound."""
    with session_scope(deps.engine) as session:
        row = proposals.get(session, proposal_id)
        before = compositions.find(session, row.surface, row.before) if row.before else None
        after = compositions.get(session, row.surface, row.after)
        own_allowed = policies.active(session).policy.own_changes
        given = proposals.approvals(session, row)
        return {
            "row": row,
            "stale": proposals.why_stale(session, row),
            "difference": difference_view(session, deps.settings.home, before, after, row),
            "decisions": proposals.decisions(session, proposal_id),
            "given": given,
            "needed": proposals.needed(session, row),
            "own": row.proposed_by == someone.name and not own_allowed,
            "approved": someone.name in {decision.who for decision in given},
        }
