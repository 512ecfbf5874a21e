"""Proposals and the decisions about them.

A decision is bound to the digest of the graph that was shown: when the composition behind the
proposal is another one, it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import update
from sqlmodel import Session, col, select

from agenticrs.platform.errors import Conflict, NotAllowed, NotFound
from agenticrs.registry import audit, outbox
from agenticrs.registry.tables import CompositionRow, DecisionRow, ProposalRow

Verdict = Literal["approve", "reject"]
LONGEST_REASON = 2000


def file(
    session: Session,
    *,
    surface: str,
    cycle_id: int,
    title: str,
    before: int | None,
    after: int,
    digest: str,
    evidence: Mapping[str, Any],
) -> ProposalRow:
    """File a proposal (once for a cycle); older ones that still wait become superseded."""
    known = session.exec(select(ProposalRow).where(ProposalRow.cycle_id == cycle_id)).first()
    if known is not None:
        return known
    session.connection().execute(
        update(ProposalRow)
        .where(col(ProposalRow.surface) == surface, col(ProposalRow.state) == "waiting")
        .values(state="superseded")
    )
    row = ProposalRow(
        surface=surface,
        cycle_id=cycle_id,
        title=title,
        before=before,
        after=after,
        digest=digest,
        state="waiting",
        evidence=dict(evidence),
    )
    session.add(row)
    session.flush()
    audit.record(
        session,
        who="evolution",
        action="propose",
        subject=f"proposal {row.id}",
        reason=title,
        before={"composition": before},
        after={"composition": after},
    )
    outbox.post(
        session,
        key=f"proposal:{row.id}",
        surface=surface,
        event="proposal.waiting",
        subject=f"Proposal {row.id} waits on {surface}",
        text=title,
        data={"proposal": row.id, "cycle": cycle_id, "before": before, "after": after}
        | {"path": f"/proposals/{row.id}"},
    )
    return row


def get(session: Session, proposal_id: int) -> ProposalRow:
    """The proposal with that id; raises NotFound."""
    row = session.get(ProposalRow, proposal_id)
    if row is None:
        raise NotFound(f"there is no proposal {proposal_id}", hint="see `agenticrs proposals list`")
    return row


def between(session: Session, surface: str, before: int, after: int) -> ProposalRow | None:
    """The newest proposal to go from one composition to the other, or None."""
    return session.exec(
        select(ProposalRow)
        .where(
            ProposalRow.surface == surface,
            ProposalRow.before == before,
            ProposalRow.after == after,
        )
        .order_by(col(ProposalRow.id).desc())
    ).first()


def of_cycle(session: Session, cycle_id: int) -> ProposalRow | None:
    """The proposal that a cycle filed, or None."""
    return session.exec(select(ProposalRow).where(ProposalRow.cycle_id == cycle_id)).first()


def list_all(
    session: Session, surface: str | None = None, state: str | None = None
) -> list[ProposalRow]:
    """Proposals, newest first."""
    query = select(ProposalRow).order_by(col(ProposalRow.id).desc())
    if surface is not None:
        query = query.where(ProposalRow.surface == surface)
    if state is not None:
        query = query.where(ProposalRow.state == state)
    return list(session.exec(query))


def decide(
    session: Session, proposal_id: int, *, verdict: Verdict, who: str, reason: str
) -> DecisionRow:
    """Approve or reject a waiting proposal, with a reason; exactly one decision wins.

    Raises NotAllowed without a reason, Conflict when it no longer waits or the composition behind
    it is not the one that was shown.
    """
    reason = reason.strip()
    if not reason:
        raise NotAllowed("a decision needs a reason", hint="say why in a sentence")
    if len(reason) > LONGEST_REASON:
        raise NotAllowed(f"the reason is longer than {LONGEST_REASON} characters")
    row = get(session, proposal_id)
    composition = session.exec(
        select(CompositionRow).where(
            CompositionRow.surface == row.surface, CompositionRow.number == row.after
        )
    ).first()
    if composition is None or composition.digest != row.digest:
        raise Conflict(
            f"composition {row.after} is not the one that proposal {proposal_id} showed",
            hint="run a new cycle to get a new proposal",
        )
    state = "approved" if verdict == "approve" else "rejected"
    won = session.connection().execute(
        update(ProposalRow)
        .where(col(ProposalRow.id) == proposal_id, col(ProposalRow.state) == "waiting")
        .values(state=state)
    )
    if not won.rowcount:
        session.refresh(row)
        raise Conflict(f"proposal {proposal_id} no longer waits: it is {row.state}")
    decision = DecisionRow(
        proposal_id=proposal_id, verdict=verdict, who=who, reason=reason, digest=row.digest
    )
    session.add(decision)
    audit.record(
        session,
        who=who,
        action=verdict,
        subject=f"proposal {proposal_id}",
        reason=reason,
        before={"composition": row.before},
        after={"composition": row.after},
    )
    session.flush()
    session.refresh(row)
    return decision


def mark_promoted(session: Session, proposal_id: int) -> None:
    """The approved change serves now."""
    row = get(session, proposal_id)
    row.state = "promoted"
    session.add(row)


def mark_ended(
    session: Session, proposal_id: int, state: Literal["rejected", "superseded"]
) -> None:
    """The approved change never served all users: its canary says why."""
    row = get(session, proposal_id)
    row.state = state
    session.add(row)


def decisions(session: Session, proposal_id: int) -> list[DecisionRow]:
    """What was decided about a proposal, oldest first."""
    return list(
        session.exec(
            select(DecisionRow)
            .where(DecisionRow.proposal_id == proposal_id)
            .order_by(col(DecisionRow.id))
        )
    )
