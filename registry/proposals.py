"""Proposals and the decisions about them.

A decision is bound to the digest of the graph that was shown: when the composition behind the
proposal is another one, it is refused. Nor can be approved what is *stale*: compared with something
that no longer serves. That is looked up, not kept, so what merely waits can be approved again after
a rollback; the next cycles that begin on top of what serves supersede it. How many people must
approve is told by the policy, from the risk of the change.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import update
from sqlmodel import Session, col, select

from agenticrs.platform.errors import Conflict, NotAllowed, NotFound
from agenticrs.registry import audit, intentions, outbox, policies, risk, surface_rows
from agenticrs.registry.graph import Graph
from agenticrs.registry.policies import Ruling
from agenticrs.registry.risk import Risk
from agenticrs.registry.tables import CompositionRow, DecisionRow, ProposalRow, utc_now

Verdict = Literal["approve", "reject", "request changes", "comment"]
_ENDS: Mapping[Verdict, str] = {"reject": "rejected", "request changes": "changes requested"}
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
    proposed_by: str = "evolution",
) -> ProposalRow:
    """File a proposal (once for a cycle); older ones that still wait become superseded.

    ``proposed_by``: who asked for the cycle, and so must not approve what came of it.
    """
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
        risk=risk.of_change(session, surface, before, after, evidence).model_dump(mode="json"),
        proposed_by=proposed_by,
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
        after={"composition": after, "digest": digest, "risk": row.risk["level"]},
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
    session: Session,
    surface: str | None = None,
    state: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[ProposalRow]:
    """Proposals, newest first; without a ``limit`` all of them."""
    query = select(ProposalRow).order_by(col(ProposalRow.id).desc())
    if surface is not None:
        query = query.where(ProposalRow.surface == surface)
    if state is not None:
        query = query.where(ProposalRow.state == state)
    return list(session.exec(query.limit(limit).offset(offset)))


def count(session: Session, surface: str) -> int:
    """How many there are on a surface."""
    return surface_rows.count(session, ProposalRow, surface)


def decide(
    session: Session, proposal_id: int, *, verdict: Verdict, who: str, reason: str
) -> DecisionRow:
    """Say something about a waiting proposal, with a reason.

    The policy says how many people must approve before it is approved. Rejecting it and requesting
    changes end it at once; a comment changes nothing. To approve again what one has approved is
    harmless. Of decisions at the same moment each sees the others: exactly one ends it.

    Raises NotAllowed without a reason or when somebody approves what they have asked for, Conflict
    when it no longer waits or the composition behind it is not the one that was shown, Stale when
    somebody approves what was compared with something that no longer serves.
    """
    reason = reason.strip()
    if not reason:
        raise NotAllowed("a decision needs a reason", hint="say why in a sentence")
    if len(reason) > LONGEST_REASON:
        raise NotAllowed(f"the reason is longer than {LONGEST_REASON} characters")
    row = get(session, proposal_id)
    _refuse_other_content(session, row)
    # A write first: whoever else decides waits here, and then sees what this one did.
    held = session.connection().execute(
        update(ProposalRow)
        .where(col(ProposalRow.id) == proposal_id, col(ProposalRow.state) == "waiting")
        .values(state="waiting")
    )
    if not held.rowcount:
        session.refresh(row)
        raise Conflict(f"proposal {proposal_id} no longer waits: it is {row.state}")
    known = policies.active(session)
    if verdict == "approve":
        intentions.refuse_stale(session, row.surface, row.before, f"proposal {proposal_id}")
        if who == row.proposed_by and not known.policy.own_changes:
            raise NotAllowed(
                f"{who} has asked for this change, so somebody else must approve it",
                hint="ask another approver; a policy may allow it (`own_changes`)",
            )
        mine = next((d for d in approvals(session, row) if d.who == who), None)
        if mine is not None:
            return mine
    decision = DecisionRow(
        proposal_id=proposal_id,
        verdict=verdict,
        who=who,
        reason=reason,
        digest=row.digest,
        policy=known.version,
        expires_at=utc_now() + timedelta(hours=known.policy.approval_hours)
        if verdict == "approve"
        else None,
    )
    session.add(decision)
    session.flush()
    state = _ENDS.get(verdict)
    if verdict == "approve" and len(approvals(session, row)) >= needed(session, row).approvals:
        state = "approved"
    if state is not None:
        session.connection().execute(
            update(ProposalRow).where(col(ProposalRow.id) == proposal_id).values(state=state)
        )
    audit.record(
        session,
        who=who,
        action=verdict,
        subject=f"proposal {proposal_id}",
        reason=reason,
        before={"composition": row.before, "state": "waiting"},
        after={
            "composition": row.after,
            "state": state or "waiting",
            "digest": row.digest,
            "policy": known.version,
        },
    )
    session.refresh(row)
    return decision


def needed(session: Session, row: ProposalRow) -> Ruling:
    """How many people must approve it, and why; at least one, for it waits for a person."""
    ruling = policies.active(session).rule(Risk.model_validate(row.risk))
    return ruling.model_copy(update={"approvals": max(1, ruling.approvals)})


def approvals(session: Session, row: ProposalRow) -> list[DecisionRow]:
    """The approvals that count now: of this content, not expired, one for each person."""
    now = utc_now()
    found: dict[str, DecisionRow] = {}
    for decision in decisions(session, row.id or 0):
        fresh = decision.expires_at is None or decision.expires_at > now
        if decision.verdict == "approve" and decision.digest == row.digest and fresh:
            found.setdefault(decision.who, decision)
    return list(found.values())


def expire(session: Session, row: ProposalRow) -> None:
    """It was approved, but too long ago for it to be carried out."""
    row.state = "expired"
    session.add(row)
    audit.record(
        session,
        who="policy",
        action="expire",
        subject=f"proposal {row.id}",
        reason="its approvals expired before it could be carried out",
        before={"state": "approved"},
        after={"state": "expired"},
    )


def why_stale(session: Session, row: ProposalRow) -> str:
    """Why it cannot be approved or carried out as things are; empty: it can, or it is over."""
    if row.state not in ("waiting", "approved"):
        return ""
    return intentions.why_stale(session, row.surface, row.before)


def supersede(session: Session, row: ProposalRow, why: str) -> bool:
    """It ends without having served; False when somebody else has decided meanwhile."""
    state = row.state
    ended = session.connection().execute(
        update(ProposalRow)
        .where(col(ProposalRow.id) == row.id, col(ProposalRow.state) == state)
        .values(state="superseded")
    )
    if not ended.rowcount:
        return False
    audit.record(
        session,
        who="policy",
        action="supersede",
        subject=f"proposal {row.id}",
        reason=why,
        before={"state": state},
        after={"state": "superseded"},
    )
    return True


def supersede_stale(session: Session, surface: str) -> list[int]:
    """End what waits and is stale, for new cycles compare with what serves; ids of its cycles."""
    waiting = [(row, why_stale(session, row)) for row in list_all(session, surface, "waiting")]
    return [row.cycle_id or 0 for row, why in waiting if why and supersede(session, row, why)]


def _refuse_other_content(session: Session, row: ProposalRow) -> None:
    composition = session.exec(
        select(CompositionRow).where(
            CompositionRow.surface == row.surface, CompositionRow.number == row.after
        )
    ).first()
    if (
        composition is None
        or composition.digest != row.digest
        or Graph.model_validate(composition.graph).digest() != row.digest
    ):
        raise Conflict(
            f"composition {row.after} is not the one that proposal {row.id} showed",
            hint="run a new cycle to get a new proposal",
        )


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
