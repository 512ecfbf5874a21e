"""``agenticrs policies``: show, history, write."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from agenticrs.ui.cli.output import JsonOption, emit, friendly, out, record, table

app = typer.Typer(help="Who must approve what: show, history, write.", no_args_is_help=True)


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Show the policy that counts; with --json in the form that `write` reads."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import policies
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            active = policies.active(
                session, auto_approve_agents=services.settings.auto_approve_agents
            )
        if as_json:
            emit(active.policy.model_dump(mode="json"))
            return
        rules = [rule.model_dump(mode="json") for rule in active.policy.rules]
        table(f"policy {active.version or '(default)'}", rules, as_json=False, empty="no rules")
        rest = active.policy.model_dump(mode="json", exclude={"rules"})
        record("otherwise", rest, as_json=False)


@app.command()
def history(as_json: JsonOption = False) -> None:
    """List all versions, newest first."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import policies
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            rows = policies.history(session)
        shown = [
            {"version": r.id, "who": r.who, "reason": r.reason, "at": r.at, "content": r.content}
            for r in rows
        ]
        table("policies", shown, as_json=as_json, empty="the default counts")


@app.command()
def write(
    file: Annotated[Path, typer.Argument(help="JSON, as `show --json` prints it")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why (kept in the audit log)")],
    who: Annotated[str, typer.Option("--who", help="Who does it", default_factory=getpass.getuser)],
    as_json: JsonOption = False,
) -> None:
    """Write a new version; it counts for whatever waits, too."""
    with friendly():
        import json

        from agenticrs.platform.database import session_scope
        from agenticrs.platform.errors import NotAllowed
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import policies
        from agenticrs.ui.wiring import build_services

        try:
            policy = policies.parse(json.loads(file.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise NotAllowed(f"{file} cannot be read: {error}", hint="it must be JSON") from None
        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            known = policies.active(session).version
            row = policies.write(session, policy, replaces=known, who=who, reason=reason)
        if as_json:
            emit({"version": row.id})
            return
        out.print(f"policy {row.id} counts from now on")
