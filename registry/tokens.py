"""Tokens with which scripts act for a person: shown once, kept as a digest, until they expire.

A token does at most what its scopes name and what its owner's role allows at that moment. It is
long and random, so a plain SHA-256 is enough to keep: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from agenticrs.platform.errors import NotAllowed, NotFound
from agenticrs.registry import accounts, audit
from agenticrs.registry.roles import SCOPES, Scope, includes
from agenticrs.registry.tables import AccountRow, TokenRow, utc_now

PREFIX = "agrs"
LONGEST_DAYS = 365
_USED_EVERY = timedelta(minutes=1)


def issue(
    session: Session, *, owner: str, name: str, scopes: Collection[str], days: float, who: str
) -> tuple[TokenRow, str]:
    """A new token and its text, which is never to be seen again.

    Raises NotFound for an unknown owner, NotAllowed for a closed account, an unknown scope, one
    that the owner's role does not include, or a life outside (0, 365] days.
    """
    account = accounts.get(session, owner)
    if not account.active:
        raise NotAllowed(f"the account {owner!r} is closed")
    wanted = _known(scopes)
    for scope in wanted:
        if not includes(account.role, SCOPES[scope]):
            raise NotAllowed(f"{owner!r} is {account.role}, so no token of theirs may {scope}")
    if not 0 < days <= LONGEST_DAYS:
        raise NotAllowed(f"a token lives more than 0 and at most {LONGEST_DAYS} days")
    if not name.strip() or len(name) > 100:
        raise NotAllowed("a token needs a name of at most 100 characters", hint="say what uses it")
    secret = secrets.token_urlsafe(32)
    row = TokenRow(
        name=name.strip(),
        owner=owner,
        digest=_digest(secret),
        scopes=list(wanted),
        expires_at=utc_now() + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    audit.record(
        session,
        who=who,
        action="create token",
        subject=f"token {row.id} of {owner}",
        reason=row.name,
        after={"scopes": row.scopes, "expires": row.expires_at.isoformat()},
    )
    return row, f"{PREFIX}_{row.id}_{secret}"


def find(session: Session, text: str, now: datetime) -> tuple[TokenRow, AccountRow] | None:
    """The token with that text and its owner; None when it is unknown, expired or revoked."""
    prefix, _, rest = text.partition("_")
    number, _, secret = rest.partition("_")
    # PostgreSQL refuses to look for a number that its column cannot hold.
    if prefix != PREFIX or not (number.isascii() and number.isdecimal()) or len(number) > 9:
        return None
    row = session.get(TokenRow, int(number))
    if row is None or not hmac.compare_digest(row.digest, _digest(secret)):
        return None
    account = session.get(AccountRow, row.owner)
    if row.revoked_at is not None or row.expires_at <= now or not account or not account.active:
        return None
    if row.used_at is None or now - row.used_at > _USED_EVERY:
        session.connection().execute(
            update(TokenRow).where(col(TokenRow.id) == row.id).values(used_at=now)
        )
    return row, account


def revoke(session: Session, token_id: int, *, who: str) -> TokenRow:
    """Let a token count no more; harmless to repeat. Raises NotFound."""
    row = session.get(TokenRow, token_id)
    if row is None:
        raise NotFound(f"there is no token {token_id}", hint="see `agenticrs tokens list`")
    if row.revoked_at is None:
        row.revoked_at = utc_now()
        session.add(row)
        session.flush()
        audit.record(
            session, who=who, action="revoke token", subject=f"token {row.id} of {row.owner}"
        )
    return row


def list_all(session: Session, limit: int | None = None, offset: int = 0) -> list[TokenRow]:
    """Tokens, newest first, also those that count no more; without a ``limit`` all of them."""
    found = select(TokenRow).order_by(col(TokenRow.id).desc())
    return list(session.exec(found.limit(limit).offset(offset)))


def count(session: Session) -> int:
    """How many there are."""
    return session.exec(select(func.count()).select_from(TokenRow)).one()


def state_of(row: TokenRow, now: datetime) -> str:
    """active, expired or revoked."""
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at <= now else "active"


def _known(scopes: Collection[str]) -> list[Scope]:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        what = f"there is no scope {', '.join(unknown)}" if unknown else "a token needs a scope"
        raise NotAllowed(what, hint=f"some of {', '.join(SCOPES)}")
    return [scope for scope in SCOPES if scope in scopes]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
