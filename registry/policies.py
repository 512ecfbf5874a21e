"""Policies as data: how many people must approve a change before it serves.

Every change of the policy is a new version with who and why; the newest one counts. As long as
nobody has written one, a default stands in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from agenticrs.platform.errors import Conflict, NotAllowed, NotFound
from agenticrs.registry import audit
from agenticrs.registry.risk import LEVELS, Change, Level, Risk
from agenticrs.registry.tables import PolicyRow


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Frozen):
    """Changes of these kinds, up to this risk and effect, need so many people."""

    changes: tuple[Change, ...] = Field(min_length=1)
    risk: Level
    """The highest level that the rule is for."""
    largest_effect: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The largest blended lift, as a share; None: any."""
    approvals: int = Field(ge=0, le=2)

    @model_validator(mode="after")
    def _people_decide_about_people(self) -> Rule:
        if self.approvals == 0 and ("composition" in self.changes or self.risk == "high"):
            raise ValueError("what changes the composition, or is of high risk, needs a person")
        return self


class Policy(_Frozen):
    """Rules in order: the first one that fits a change counts."""

    rules: tuple[Rule, ...] = ()
    otherwise: int = Field(default=2, ge=1, le=2)
    """People who are needed where no rule fits."""
    approval_hours: float = Field(default=72.0, gt=0, le=8760)
    """How long an approval counts before the change serves."""
    own_changes: bool = False
    """Whether who asked for a cycle may approve what came of it."""


class Ruling(_Frozen):
    """What a policy says about a change: how many people, and why."""

    approvals: int
    why: str
    version: int = 0


@dataclass(frozen=True)
class Active:
    """The policy that counts, and its version; 0 is the default."""

    version: int
    policy: Policy

    def rule(self, risk: Risk) -> Ruling:
        """How many people must approve a change of that risk."""
        for place, rule in enumerate(self.policy.rules, 1):
            if _fits(rule, risk):
                why = f"rule {place}: {risk.change}, risk up to {rule.risk}"
                return Ruling(approvals=rule.approvals, why=why, version=self.version)
        return Ruling(approvals=self.policy.otherwise, why="no rule fits", version=self.version)


def default(auto_approve_agents: bool) -> Policy:
    """What counts until somebody writes a policy.

    A first composition needs nobody: the alternative is none. New versions of agents of low risk
    need nobody or one person, as the setting ``auto_approve_agents`` says. What is of medium risk,
    and another composition, needs one person, and what is of high risk two.
    """
    return Policy(
        rules=(
            Rule(changes=("first",), risk="medium", approvals=0),
            Rule(changes=("versions",), risk="low", approvals=0 if auto_approve_agents else 1),
            Rule(changes=("versions", "composition"), risk="medium", approvals=1),
        )
    )


def active(session: Session, *, auto_approve_agents: bool = False) -> Active:
    """The newest policy, or the default."""
    row = session.exec(select(PolicyRow).order_by(col(PolicyRow.id).desc()).limit(1)).first()
    if row is None:
        return Active(0, default(auto_approve_agents))
    return Active(row.id or 0, Policy.model_validate(row.content))


def write(session: Session, policy: Policy, *, replaces: int, who: str, reason: str) -> PolicyRow:
    """A new version in the place of version ``replaces``.

    Raises NotAllowed without a reason, Conflict when another one has been written meanwhile.
    """
    if not reason.strip():
        raise NotAllowed("a policy needs a reason", hint="say why in a sentence")
    before = active(session)
    if before.version != replaces:
        raise Conflict(
            f"version {before.version} has been written meanwhile, not {replaces} is the newest",
            hint="look at it, and say your change again",
        )
    content = policy.model_dump(mode="json")
    row = PolicyRow(id=replaces + 1, content=content, who=who, reason=reason.strip())
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("somebody else has written a policy at the same moment") from error
    audit.record(
        session,
        who=who,
        action="change policy",
        subject=f"policy {row.id}",
        reason=row.reason,
        before=before.policy.model_dump(mode="json") if before.version else {},
        after=content,
    )
    return row


def parse(values: Any) -> Policy:
    """A policy out of JSON; raises NotAllowed with what is wrong."""
    try:
        return Policy.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the policy"
        text = str(first["msg"]).removeprefix("Value error, ")
        raise NotAllowed(f"{place}: {text}", hint="see docs/governance.md") from None


def get(session: Session, version: int) -> PolicyRow:
    """One version; raises NotFound."""
    row = session.get(PolicyRow, version)
    if row is None:
        raise NotFound(f"there is no policy {version}", hint="see `agenticrs policies history`")
    return row


def history(session: Session, limit: int | None = None, offset: int = 0) -> list[PolicyRow]:
    """Versions, newest first; without a ``limit`` all of them."""
    found = select(PolicyRow).order_by(col(PolicyRow.id).desc())
    return list(session.exec(found.limit(limit).offset(offset)))


def count(session: Session) -> int:
    """How many versions there are."""
    return session.exec(select(func.count()).select_from(PolicyRow)).one()


def _fits(rule: Rule, risk: Risk) -> bool:
    if risk.change not in rule.changes or LEVELS.index(risk.level) > LEVELS.index(rule.risk):
        return False
    if rule.largest_effect is None:
        return True
    return risk.effect is not None and risk.effect <= rule.largest_effect
