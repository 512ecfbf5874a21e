"""``/v1`` for people and their scripts: agents, cycles, proposals, versions, rollback, audit.

Everything here needs a login, and changes need a role. Decisions go through the controller, which
audits them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from sqlmodel import Session

from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, audit, compositions, cycles, promotion, proposals, trials
from agenticrs.registry import versions as version_store
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import ProposalRow
from agenticrs.ui.api import models
from agenticrs.ui.api.dependencies import AppDependencies, Deps, Key, Registry
from agenticrs.ui.api.people import Approver, Needs, Operator

router = APIRouter(prefix="/v1", tags=["governance"], dependencies=[Depends(Needs("viewer"))])
ProposalState = Literal[
    "waiting", "approved", "rejected", "changes requested", "promoted", "superseded", "expired"
]


@router.get("/agents")
def list_agents(deps: Deps, session: Registry) -> list[models.AgentPublic]:
    """Agents and tools, with their declaration and admission report."""
    serving = promotion.serving(session, deps.settings.surface)
    members = Graph.model_validate(serving.graph).agents() if serving else {}
    return [
        models.AgentPublic.model_validate(row).model_copy(
            update={"serving_version": members.get(row.name)}
        )
        for row in agents.list_all(session)
    ]


@router.get("/agents/{name}")
def get_agent(name: str, deps: Deps, session: Registry) -> models.AgentPublic:
    """One agent or tool."""
    agents.get(session, name)
    return next(found for found in list_agents(deps, session) if found.name == name)


@router.get("/cycles")
def list_cycles(
    deps: Deps, session: Registry, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[models.CyclePublic]:
    """Cycles of the surface, newest first."""
    rows = cycles.list_all(session, deps.settings.surface, limit)
    return [models.CyclePublic.model_validate(row) for row in rows]


@router.get("/cycles/{cycle_id}")
def get_cycle(cycle_id: Key, session: Registry) -> models.CycleDetail:
    """A cycle with its steps and trials."""
    row = models.CyclePublic.model_validate(cycles.get(session, cycle_id))
    return models.CycleDetail(
        **row.model_dump(),
        steps=[models.StepPublic.model_validate(s) for s in cycles.steps(session, cycle_id)],
        trials=[models.TrialPublic.model_validate(t) for t in trials.of_cycle(session, cycle_id)],
    )


@router.get("/proposals")
def list_proposals(
    deps: Deps, session: Registry, state: ProposalState | None = None
) -> list[models.ProposalPublic]:
    """Proposals of the surface, newest first."""
    rows = proposals.list_all(session, deps.settings.surface, state)
    return [_public(session, row) for row in rows]


@router.get("/proposals/{proposal_id}")
def get_proposal(proposal_id: Key, session: Registry) -> models.ProposalDetail:
    """A proposal with both graphs and the decisions about it."""
    row = proposals.get(session, proposal_id)
    before = compositions.find(session, row.surface, row.before) if row.before else None
    after = compositions.find(session, row.surface, row.after)
    needed = proposals.needed(session, row)
    return models.ProposalDetail(
        **_public(session, row).model_dump(),
        graph_before=before.graph if before else None,
        graph_after=after.graph if after else None,
        decisions=[
            models.DecisionPublic.model_validate(d)
            for d in proposals.decisions(session, proposal_id)
        ],
        approvals_needed=needed.approvals,
        approvals_given=len(proposals.approvals(session, row)),
        needed_because=needed.why,
    )


@router.post("/proposals/{proposal_id}/approve")
def approve(
    proposal_id: Key, decision: models.DecisionRequest, deps: Deps, who: Approver
) -> models.ProposalDetail:
    """Approve a waiting proposal: when that is enough, it serves when this returns."""
    return _decide(deps, proposal_id, "approve", who.name, decision.reason)


@router.post("/proposals/{proposal_id}/request-changes")
def request_changes(
    proposal_id: Key, decision: models.DecisionRequest, deps: Deps, who: Approver
) -> models.ProposalDetail:
    """End a waiting proposal, and say what another one should do differently."""
    return _decide(deps, proposal_id, "request changes", who.name, decision.reason)


@router.post("/proposals/{proposal_id}/comment")
def comment(
    proposal_id: Key, decision: models.DecisionRequest, deps: Deps, who: Operator
) -> models.ProposalDetail:
    """Say something about a waiting proposal, for whoever decides."""
    return _decide(deps, proposal_id, "comment", who.name, decision.reason)


@router.post("/proposals/{proposal_id}/reject")
def reject(
    proposal_id: Key, decision: models.DecisionRequest, deps: Deps, who: Approver
) -> models.ProposalDetail:
    """Reject a waiting proposal; the reason is kept."""
    return _decide(deps, proposal_id, "reject", who.name, decision.reason)


@router.get("/versions")
def list_versions(
    deps: Deps, session: Registry, agent: Annotated[str | None, Query(max_length=40)] = None
) -> models.Versions:
    """Compositions and versions of agents (of one agent), newest first."""
    surface = deps.settings.surface
    serving = promotion.serving(session, surface)
    found = version_store.of_agent(session, surface, agent)
    return models.Versions(
        surface=surface,
        serving=serving.number if serving else None,
        compositions=[
            models.CompositionPublic.model_validate(row)
            for row in compositions.all_of(session, surface)
        ],
        agents=[models.VersionPublic.model_validate(row) for row in found],
    )


@router.post("/rollback")
def rollback(wanted: models.RollbackRequest, deps: Deps, who: Operator) -> models.RollbackResponse:
    """Let an earlier composition serve again."""
    deps.governance.rollback(to=wanted.to, who=who.name, reason=wanted.reason)
    deps.serving.refresh()
    with session_scope(deps.engine) as session:
        serving = promotion.serving(session, deps.settings.surface)
    return models.RollbackResponse(composition=serving.number if serving else None)


@router.get("/audit")
def list_audit(
    session: Registry,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before_id: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    action: Annotated[str | None, Query(max_length=40)] = None,
) -> list[models.AuditEntry]:
    """The audit log, newest first; ``before_id`` pages on."""
    rows = audit.entries(session, limit, before_id, action)
    return [models.AuditEntry.model_validate(row) for row in rows]


def _public(session: Session, row: ProposalRow) -> models.ProposalPublic:
    stale = proposals.why_stale(session, row)
    return models.ProposalPublic.model_validate(row).model_copy(update={"stale": stale})


def _decide(
    deps: AppDependencies, proposal_id: int, verdict: proposals.Verdict, who: str, reason: str
) -> models.ProposalDetail:
    deps.governance.decide(proposal_id, verdict=verdict, who=who, reason=reason)
    deps.serving.refresh()
    with session_scope(deps.engine) as session:
        return get_proposal(proposal_id, session)
