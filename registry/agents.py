"""Agents and tools as the registry knows them: spec, source, admission report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import Session, col, select

from agenticrs.platform.errors import NotFound
from agenticrs.registry import audit
from agenticrs.registry.spec import AgentSpec
from agenticrs.registry.tables import AgentRow, utc_now

if TYPE_CHECKING:
    from agenticrs.registry.admission import AdmissionReport


def record(session: Session, spec: AgentSpec, report: AdmissionReport, source: str) -> AgentRow:
    """Keep the outcome of an admission: an agent, or (a check failed) a tool. Audited."""
    row = session.get(AgentRow, spec.name) or AgentRow(
        name=spec.name, status="", role=spec.role, kind=spec.kind
    )
    row.status = "agent" if report.admitted else "tool"
    row.role, row.kind, row.source = spec.role, spec.kind, source
    row.spec = spec.model_dump(mode="json")
    row.admission = report.model_dump(mode="json")
    row.admitted_at = utc_now()
    session.add(row)
    failed = [check.name for check in report.checks if not check.passed and not check.advisory]
    audit.record(
        session,
        who="registry",
        action="admit",
        subject=spec.name,
        reason=f"failed: {', '.join(failed)}" if failed else "all checks passed",
        after={"status": row.status},
    )
    session.flush()
    return row


def get(session: Session, name: str) -> AgentRow:
    """The agent or tool with that name; raises NotFound."""
    row = session.get(AgentRow, name)
    if row is None:
        known = ", ".join(r.name for r in list_all(session)) or "none yet"
        raise NotFound(f"no agent is called {name!r}", hint=f"known: {known}")
    return row


def admitted(session: Session) -> dict[str, AgentSpec]:
    """Specs of the agents (not of the tools) by name."""
    rows = session.exec(
        select(AgentRow).where(AgentRow.status == "agent").order_by(col(AgentRow.name))
    )
    return {row.name: AgentSpec.model_validate(row.spec) for row in rows}


def roles(session: Session) -> dict[str, str]:
    """Role of every agent and tool by name."""
    return {row.name: row.role for row in list_all(session)}


def list_all(session: Session) -> list[AgentRow]:
    """Agents and tools by role and name."""
    return list(session.exec(select(AgentRow).order_by(col(AgentRow.role), col(AgentRow.name))))
