"""What waits for a decision, told apart by whether the person who looks can make it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from agenticrs.registry import canaries, objectives, policies, proposals
from agenticrs.registry.tables import ProposalRow
from agenticrs.ui.api.credentials import Person


@dataclass(frozen=True)
class Waiting:
    """Something that waits; ``why_not`` says why it waits for others, empty: it waits for you."""

    path: str
    name: str
    since: datetime
    why_not: str = ""


def what_waits(session: Session, surface: str, someone: Person) -> list[Waiting]:
    """Proposals, weights of the objectives and a canary that asks, the oldest of each kind last."""
    return [*_proposals(session, surface, someone), *_others(session, surface, someone)]


def _proposals(session: Session, surface: str, someone: Person) -> Iterator[Waiting]:
    for row in proposals.list_all(session, surface, "waiting"):
        yield Waiting(
            f"/proposals/{row.id}",
            f"Proposal {row.id}: {row.title}",
            row.created_at,
            _why_not(someone) or _not_now(session, row, someone),
        )


def _others(session: Session, surface: str, someone: Person) -> Iterator[Waiting]:
    weights = objectives.waiting(session, surface)
    if weights is not None:
        name = "Other weights of the objectives"
        yield Waiting(f"/objectives/{weights.id}", name, weights.at, _why_not(someone))
    for canary in canaries.all_of(session, surface, limit=1):
        if canary.state == "paused":
            name = f"Canary {canary.id} asks what follows"
            yield Waiting("/canary", name, canary.stepped_at, _why_not(someone))


def _why_not(someone: Person) -> str:
    return "" if someone.may("approver") else "for an approver"


def _not_now(session: Session, row: ProposalRow, someone: Person) -> str:
    """Why somebody who may approve cannot approve this one."""
    if proposals.why_stale(session, row):
        return "stale, as something else serves: for the next cycle"
    if row.proposed_by == someone.name and not policies.active(session).policy.own_changes:
        return "you asked for it: for somebody else"
    if someone.name in {decision.who for decision in proposals.approvals(session, row)}:
        return "you have approved it: for one more person"
    return ""
