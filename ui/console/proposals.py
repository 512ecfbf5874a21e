"""Proposals: the list, and one with everything that a decision may rest on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from agenticrs.registry import compositions, objectives, policies, proposals
from agenticrs.ui.api.dependencies import Deps, Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console.difference import difference_view
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)


@router.get("/proposals")
def list_proposals(
    request: Request, someone: Someone, deps: Deps, session: Registry, page: PageNumber = 1
) -> Response:
    """Proposals, newest first."""
    rows = proposals.list_all(session, deps.settings.surface)
    return pages_of(request).page(
        request,
        "proposals.html",
        person=someone,
        table=page_of(
            lambda limit, offset: rows[offset : offset + limit],
            total=len(rows),
            number=page,
            path="/proposals",
        ),
        objectives=objectives.list_all(session, deps.settings.surface),
    )


@router.get("/proposals/{proposal_id}")
def show_proposal(
    request: Request,
    someone: Someone,
    deps: Deps,
    session: Registry,
    proposal_id: Annotated[int, Path(ge=1, le=2**53)],
) -> Response:
    """A proposal: graphs before and after, rewards, guardrails, cost, the decision."""
    row = proposals.get(session, proposal_id)
    before = compositions.find(session, row.surface, row.before) if row.before else None
    after = compositions.get(session, row.surface, row.after)
    return pages_of(request).page(
        request,
        "proposal.html",
        person=someone,
        row=row,
        difference=difference_view(session, deps.settings.home, before, after, row),
        decisions=proposals.decisions(session, proposal_id),
        given=proposals.approvals(session, row),
        needed=proposals.needed(session, row),
        own=row.proposed_by == someone.name and not policies.active(session).policy.own_changes,
    )
