"""``agenticrs audit``: list, verify."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from agenticrs.ui.cli.output import JsonOption, friendly, record, table

app = typer.Typer(help="The audit log: list, verify.", no_args_is_help=True)


@app.command("list")
def list_entries(
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 30, as_json: JsonOption = False
) -> None:
    """Show who changed what, when and why, newest first."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import audit
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            rows = audit.entries(session, limit)
        shown = [
            {
                "entry": row.id,
                "at": row.at,
                "who": row.who,
                "action": row.action,
                "subject": row.subject,
                "reason": row.reason,
            }
            for row in rows
        ]
        table("audit", shown, as_json=as_json)


@app.command()
def verify(
    digest: Annotated[
        str | None, typer.Option(help="A digest kept elsewhere, which an entry must have")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that no entry was changed, taken out or slipped in; exit code 1 when one was."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import audit
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            found = audit.verify(session, digest)
        record("broken" if found.problem else "whole", asdict(found), as_json=as_json)
        if found.problem:
            raise typer.Exit(1)
