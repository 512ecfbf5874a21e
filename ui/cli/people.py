"""``agenticrs people`` and ``agenticrs tokens``: who may do what, and with what scripts act."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from agenticrs.ui.cli.output import JsonOption, friendly, record, table

if TYPE_CHECKING:
    from agenticrs.registry.roles import Role
    from agenticrs.registry.tables import AccountRow

people = typer.Typer(help="Accounts: list, add, role, password, close, open.", no_args_is_help=True)
tokens = typer.Typer(help="Tokens of scripts: list, create, revoke.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Of the account")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why (kept in the audit log)")]
Who = Annotated[str, typer.Option("--who", help="Who does it", default_factory=getpass.getuser)]


@people.command("list")
def list_people(as_json: JsonOption = False) -> None:
    """List the accounts with their roles."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import accounts
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            rows = [_shown(row) for row in accounts.list_all(session)]
        table("people", rows, as_json=as_json, empty="`agenticrs up` makes the first one")


@people.command()
def add(
    name: Name,
    who: Who,
    role: Annotated[str, typer.Option(help="viewer, operator, approver or admin")] = "viewer",
    as_json: JsonOption = False,
) -> None:
    """Add an account; its password is chosen here and shown only now."""
    with friendly():
        import secrets

        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import accounts
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        password = secrets.token_urlsafe(12)
        with session_scope(services.engine) as session:
            row = accounts.create(session, name, password, cast("Role", role), who=who)
        record("added", {**_shown(row), "password": password}, as_json=as_json)


@people.command()
def role(
    name: Name,
    role: Annotated[str, typer.Argument(help="viewer, operator, approver or admin")],
    reason: Reason,
    who: Who,
    as_json: JsonOption = False,
) -> None:
    """Give somebody another role; their sessions end."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import accounts
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = accounts.set_role(session, name, cast("Role", role), who=who, reason=reason)
        record("changed", _shown(row), as_json=as_json)


@people.command()
def password(name: Name, who: Who, as_json: JsonOption = False) -> None:
    """Give somebody another password, shown only now; their sessions end."""
    with friendly():
        import secrets

        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import accounts
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        chosen = secrets.token_urlsafe(12)
        with session_scope(services.engine) as session:
            row = accounts.set_password(session, name, chosen, who=who)
        record("changed", {**_shown(row), "password": chosen}, as_json=as_json)


@people.command()
def close(name: Name, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Close an account: its sessions end, its tokens count no more."""
    _set_active(name, False, reason, who, as_json)


@people.command("open")
def open_again(name: Name, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Open a closed account again."""
    _set_active(name, True, reason, who, as_json)


@tokens.command("list")
def list_tokens(as_json: JsonOption = False) -> None:
    """List the tokens, newest first; what they are is shown nowhere."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import tokens as store
        from agenticrs.registry.tables import utc_now
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        now = utc_now()
        with session_scope(services.engine) as session:
            rows = [
                {
                    "token": row.id,
                    "name": row.name,
                    "owner": row.owner,
                    "scopes": ", ".join(row.scopes),
                    "state": store.state_of(row, now),
                    "expires": row.expires_at,
                    "used": row.used_at,
                }
                for row in store.list_all(session)
            ]
        table("tokens", rows, as_json=as_json, empty="`agenticrs tokens create` makes one")


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="What uses it")],
    owner: Annotated[str, typer.Option(help="Account that it acts for")],
    who: Who,
    scope: Annotated[
        list[str], typer.Option(help="read, operate, approve or administer; can be repeated")
    ] = ["read"],  # noqa: B006 (typer copies it)
    days: Annotated[float, typer.Option(min=0, max=365, help="Until it expires")] = 90,
    as_json: JsonOption = False,
) -> None:
    """Create a token, which is shown only now."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import tokens as store
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row, text = store.issue(
                session, owner=owner, name=name, scopes=scope, days=days, who=who
            )
        told = {"token": text, "id": row.id, "scopes": row.scopes, "expires": row.expires_at}
        record("shown only now", told, as_json=as_json)


@tokens.command()
def revoke(
    token: Annotated[int, typer.Argument(help="Its number in the list")],
    who: Who,
    as_json: JsonOption = False,
) -> None:
    """Let a token count no more."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import tokens as store
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = store.revoke(session, token, who=who)
        record("revoked", {"id": row.id, "name": row.name, "owner": row.owner}, as_json=as_json)


def _set_active(name: str, active: bool, reason: str, who: str, as_json: bool) -> None:
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import accounts
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = accounts.set_active(session, name, active, who=who, reason=reason)
        record("opened" if active else "closed", _shown(row), as_json=as_json)


def _shown(row: AccountRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "role": row.role,
        "active": row.active,
        "logs in by": "identity provider" if row.subject else "password",
        "created": row.created_at,
    }
