"""``/v1`` for admins: people, tokens of their scripts, and the policies of approvals."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from agenticrs.registry import accounts, audit, policies, tokens
from agenticrs.registry.policies import Policy
from agenticrs.registry.roles import Role
from agenticrs.registry.tables import AccountRow, TokenRow, utc_now
from agenticrs.ui.api.dependencies import Deps, Key, Registry
from agenticrs.ui.api.models import Reason
from agenticrs.ui.api.people import Admin, Needs

router = APIRouter(prefix="/v1", tags=["administration"])
_admins = APIRouter(dependencies=[Depends(Needs("admin"))])
_readers = APIRouter(dependencies=[Depends(Needs("viewer"))])
Name = Annotated[str, Path(min_length=1, max_length=accounts.LONGEST_NAME)]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Public(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class PersonPublic(_Public):
    """Somebody who may log in."""

    name: str
    role: str
    active: bool
    logs_in_by: Literal["password", "identity provider"]
    created_at: datetime


class NewPerson(_Request):
    """An account to be made."""

    name: str = Field(min_length=1, max_length=accounts.LONGEST_NAME)
    password: str = Field(min_length=accounts.SHORTEST_PASSWORD, max_length=1000)
    role: Role = "viewer"


class PersonChange(_Request):
    """What shall be different; what is not named stays."""

    role: Role | None = None
    active: bool | None = None
    reason: Reason


class TokenPublic(_Public):
    """A token, without what it is."""

    id: int
    name: str
    owner: str
    scopes: list[str]
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class NewToken(_Request):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=100)
    owner: str = Field(min_length=1, max_length=accounts.LONGEST_NAME)
    scopes: list[Literal["read", "operate", "approve", "administer"]] = Field(min_length=1)
    days: float = Field(default=90, gt=0, le=tokens.LONGEST_DAYS)


class TokenMade(TokenPublic):
    """The only answer that shows what the token is."""

    token: str


class PolicyPublic(_Public):
    """The policy that counts; version 0 is the default."""

    version: int
    policy: Policy


class PolicyVersion(PolicyPublic):
    """A version that somebody wrote, and why."""

    who: str
    reason: str
    at: datetime


class NewPolicy(_Request):
    """A policy in the place of version ``replaces``."""

    policy: Policy
    replaces: int = Field(ge=0, le=2**53)
    reason: Reason


class ChainPublic(_Public):
    """Whether the audit log is whole: how many entries fit, and which one is the first that not."""

    entries: int
    digest: str
    broken: int | None
    problem: str


@_admins.get("/people")
def list_people(session: Registry) -> list[PersonPublic]:
    """All accounts, also closed ones."""
    return [_person(row) for row in accounts.list_all(session)]


@_admins.post("/people")
def add_person(wanted: NewPerson, session: Registry, who: Admin) -> PersonPublic:
    """Make an account."""
    row = accounts.create(session, wanted.name, wanted.password, wanted.role, who=who.name)
    return _person(row)


@_admins.post("/people/{name}")
def change_person(name: Name, wanted: PersonChange, session: Registry, who: Admin) -> PersonPublic:
    """Give somebody another role, close the account or open it; their sessions end."""
    row = accounts.get(session, name)
    why = wanted.reason
    if wanted.role is not None:
        row = accounts.set_role(session, name, wanted.role, who=who.name, reason=why)
    if wanted.active is not None:
        row = accounts.set_active(session, name, wanted.active, who=who.name, reason=why)
    return _person(row)


@_admins.get("/tokens")
def list_tokens(session: Registry) -> list[TokenPublic]:
    """All tokens, newest first."""
    return [TokenPublic(**_token(row)) for row in tokens.list_all(session)]


@_admins.post("/tokens")
def make_token(wanted: NewToken, session: Registry, who: Admin) -> TokenMade:
    """Make a token; this answer alone shows what it is."""
    row, text = tokens.issue(
        session,
        owner=wanted.owner,
        name=wanted.name,
        scopes=wanted.scopes,
        days=wanted.days,
        who=who.name,
    )
    return TokenMade(**_token(row), token=text)


@_admins.post("/tokens/{token_id}/revoke")
def revoke_token(token_id: Key, session: Registry, who: Admin) -> TokenPublic:
    """Let a token count no more."""
    return TokenPublic(**_token(tokens.revoke(session, token_id, who=who.name)))


@_readers.get("/policies")
def show_policy(deps: Deps, session: Registry) -> PolicyPublic:
    """The policy that counts."""
    found = policies.active(session, auto_approve_agents=deps.settings.auto_approve_agents)
    return PolicyPublic(version=found.version, policy=found.policy)


@_readers.get("/policies/history")
def list_policies(session: Registry) -> list[PolicyVersion]:
    """All versions, newest first."""
    return [
        PolicyVersion(
            version=row.id or 0,
            policy=Policy.model_validate(row.content),
            who=row.who,
            reason=row.reason,
            at=row.at,
        )
        for row in policies.history(session)
    ]


@_admins.post("/policies")
def write_policy(wanted: NewPolicy, session: Registry, who: Admin) -> PolicyPublic:
    """Write a new version; it counts for whatever waits, too."""
    row = policies.write(
        session, wanted.policy, replaces=wanted.replaces, who=who.name, reason=wanted.reason
    )
    return PolicyPublic(version=row.id or 0, policy=wanted.policy)


@_readers.get("/audit/verify")
def verify_audit(session: Registry) -> ChainPublic:
    """Check the whole chain of the audit log."""
    return ChainPublic.model_validate(audit.verify(session))


router.include_router(_admins)
router.include_router(_readers)


def _person(row: AccountRow) -> PersonPublic:
    return PersonPublic(
        name=row.name,
        role=row.role,
        active=row.active,
        logs_in_by="identity provider" if row.subject else "password",
        created_at=row.created_at,
    )


def _token(row: TokenRow) -> dict[str, Any]:
    state = tokens.state_of(row, utc_now())
    return {**row.model_dump(exclude={"digest", "revoked_at"}), "state": state}
