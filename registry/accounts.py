"""Accounts of people: names, roles, and argon2 hashes of their passwords.

A change of role or password, and closing the account, end every session of that person. There is
always somebody left who is an admin.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import func
from sqlmodel import Session, col, select

from agenticrs.platform.errors import Conflict, NotAllowed, NotFound
from agenticrs.registry import audit, logins
from agenticrs.registry.roles import ROLES, Role
from agenticrs.registry.tables import AccountRow

SHORTEST_PASSWORD = 8
LONGEST_NAME = 100
_hasher = PasswordHasher()


def create(
    session: Session, name: str, password: str, role: Role = "viewer", *, who: str = "setup"
) -> AccountRow:
    """A new account. Raises Conflict for a taken name, NotAllowed for a short password."""
    return _add(session, AccountRow(name=name, password=_hashed(password), role=role), who)


def enter(session: Session, name: str, subject: str, role: Role) -> AccountRow:
    """The account of somebody whom an identity provider vouches for; made at the first login.

    ``subject`` is the provider's own, lasting name of that person; the role is what the provider
    says now. Raises Conflict when the name belongs to somebody else, NotAllowed when it is closed.
    """
    row = session.exec(select(AccountRow).where(AccountRow.subject == subject)).first()
    if row is None:
        made = AccountRow(name=name, password="", role=role, subject=subject)
        return _add(session, made, "identity provider")
    if not row.active:
        raise NotAllowed(f"the account {row.name!r} is closed", hint="ask an admin")
    if row.role != role:
        _change(session, row, "identity provider", "change role", "", {"role": role})
    return row


def find(session: Session, name: str) -> AccountRow | None:
    """The account of that name, if there is one; what can be no name is not asked for."""
    return session.get(AccountRow, name) if name.isprintable() else None


def get(session: Session, name: str) -> AccountRow:
    """The account of that name; raises NotFound."""
    row = find(session, name)
    if row is None:
        raise NotFound(f"there is no account {name!r}", hint="see `agenticrs people list`")
    return row


def list_all(session: Session, limit: int | None = None, offset: int = 0) -> list[AccountRow]:
    """Accounts by name, also closed ones; without a ``limit`` all of them."""
    found = select(AccountRow).order_by(col(AccountRow.name))
    return list(session.exec(found.limit(limit).offset(offset)))


def count(session: Session) -> int:
    """How many there are."""
    return session.exec(select(func.count()).select_from(AccountRow)).one()


def set_role(session: Session, name: str, role: Role, *, who: str, reason: str) -> AccountRow:
    """Give somebody another role. Raises NotAllowed for the last admin, or without a reason."""
    row = get(session, name)
    if row.role != role:
        _change(session, row, who, "change role", _needed(reason), {"role": role})
    return row


def set_active(session: Session, name: str, active: bool, *, who: str, reason: str) -> AccountRow:
    """Close an account, or open it again. Raises NotAllowed for the last admin."""
    row = get(session, name)
    if row.active != active:
        action = "open account" if active else "close account"
        _change(session, row, who, action, _needed(reason), {"active": active})
    return row


def set_password(session: Session, name: str, password: str, *, who: str) -> AccountRow:
    """Another password. Raises NotAllowed for a short one, or where a provider logs people in."""
    row = get(session, name)
    if row.subject is not None:
        raise NotAllowed(f"{name!r} logs in with the identity provider, and has no password here")
    row.password = _hashed(password)
    session.add(row)
    logins.end_all(session, name)
    audit.record(session, who=who, action="change password", subject=f"account {name}")
    return row


def verify(session: Session, name: str, password: str) -> bool:
    """Whether the password is right; unknown names cost the same work as known ones."""
    row = find(session, name)
    # Somebody whom a provider logs in has no hash: that must not answer faster either.
    known = row.password if row is not None and row.password else _nobody()
    try:
        _hasher.verify(known, password)
    except (Argon2Error, InvalidHashError):
        return False
    return row is not None and bool(row.password) and row.active


def any_exists(session: Session) -> bool:
    """Whether somebody can log in at all."""
    return session.exec(select(AccountRow).limit(1)).first() is not None


def _add(session: Session, row: AccountRow, who: str) -> AccountRow:
    name = row.name
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable() or ":" in name:
        raise NotAllowed(
            f"an account's name has 1 to {LONGEST_NAME} printable characters and no colon"
        )
    _known(row.role)
    if session.get(AccountRow, name) is not None:
        raise Conflict(f"there is already an account {name!r}")
    session.add(row)
    session.flush()
    audit.record(session, who=who, action="create account", subject=name, after={"role": row.role})
    return row


def _change(
    session: Session,
    row: AccountRow,
    who: str,
    action: str,
    reason: str,
    changed: Mapping[str, Any],
) -> None:
    _known(changed.get("role", row.role))
    before = {name: getattr(row, name) for name in changed}
    # Of two admins who demote each other at once the second one waits here, or at the write below
    # (SQLite), and then sees what the first one did.
    _admins(session)
    for name, value in changed.items():
        setattr(row, name, value)
    session.add(row)
    session.flush()
    if not _admins(session):
        raise NotAllowed(
            f"{row.name!r} is the last admin", hint="make somebody else an admin first"
        )
    logins.end_all(session, row.name)
    audit.record(
        session,
        who=who,
        action=action,
        subject=f"account {row.name}",
        reason=reason,
        before=before,
        after=changed,
    )


def _admins(session: Session) -> list[str]:
    found = select(AccountRow.name).where(AccountRow.role == "admin", col(AccountRow.active))
    return list(session.exec(found.order_by(col(AccountRow.name)).with_for_update()))


def _known(role: str) -> None:
    if role not in ROLES:
        raise NotAllowed(f"there is no role {role!r}", hint=f"one of {', '.join(ROLES)}")


def _needed(reason: str) -> str:
    if not reason.strip():
        raise NotAllowed("this needs a reason", hint="say why in a sentence")
    return reason.strip()


def _hashed(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise NotAllowed(
            f"the password is shorter than {SHORTEST_PASSWORD} characters",
            hint="choose a longer one",
        )
    return _hasher.hash(password)


@cache
def _nobody() -> str:
    return _hasher.hash("nobody has this password")
