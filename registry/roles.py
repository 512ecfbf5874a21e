"""Roles of people, each including those before it, and the scopes that a token may have.

A viewer reads. An operator starts, pauses and stops what runs, rolls back and comments. An approver
decides about changes. An admin keeps people, tokens and policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Role = Literal["viewer", "operator", "approver", "admin"]
Scope = Literal["read", "operate", "approve", "administer"]
ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: Mapping[Scope, Role] = dict(zip(get_args(Scope), ROLES, strict=True))
"""Scope -> the role whose work it lets a token do."""


def includes(role: str, needed: Role) -> bool:
    """Whether somebody with that role may do what ``needed`` may; an unknown role may nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def scope_of(needed: Role) -> Scope:
    """The scope that a token must have for what that role does."""
    return next(scope for scope, role in SCOPES.items() if role == needed)
