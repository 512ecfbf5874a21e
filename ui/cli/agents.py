"""``agenticrs agents``: list, show, admit."""

from __future__ import annotations

from typing import Annotated

import typer

from agenticrs.ui.cli.output import JsonOption, err, friendly, record, table

app = typer.Typer(help="Agents and tools: list, show, admit.", no_args_is_help=True)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List admitted agents, tools, and what is installed but not admitted yet."""
    with friendly():
        from agenticrs.agents import catalogue
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import agents, versions
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        surface = services.settings.surface
        with session_scope(services.engine) as session:
            known = agents.list_all(session)
            rows = [
                {
                    "name": row.name,
                    "status": row.status,
                    "role": row.role,
                    "kind": row.kind,
                    "inner_reward": f"{row.spec['inner_reward']['metric']}"
                    f"@{row.spec['inner_reward']['k']}",
                    "takes_part": "on request" if row.spec.get("on_request") else "always",
                    "part_of": row.spec.get("part_of", ""),
                    "versions": len(versions.of_agent(session, surface, row.name)),
                }
                for row in known
            ]
        installed = catalogue.installed()
        rows += [
            {
                "name": name,
                "status": "not admitted",
                "role": kind.spec.role,
                "kind": kind.spec.kind,
                "inner_reward": str(kind.spec.inner_reward),
                "versions": 0,
            }
            for name, kind in sorted(installed.agents.items())
            if name not in {row.name for row in known}
        ]
        table("agents", rows, as_json=as_json)
        for broken in installed.broken:
            err.print(f"[yellow]left out:[/yellow] {broken}")


@app.command()
def show(name: str, as_json: JsonOption = False) -> None:
    """Show an agent's declaration and its admission report."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import agents
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = agents.get(session, name)
        if as_json:
            record(name, row.model_dump(mode="json"), as_json=True)
            return
        record(
            f"{name} ({row.status})",
            {k: v for k, v in row.spec.items() if k not in ("name", "space")},
            as_json=False,
        )
        table("decision space", row.spec["space"]["parameters"], as_json=False)
        table("admission", row.admission.get("checks", []), as_json=False)


@app.command()
def admit(
    names: Annotated[list[str] | None, typer.Argument(help="Agents (default: all)")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that are installed")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the admission checks; what fails is recorded as a tool."""
    with friendly():
        from agenticrs.evolution.admitting import admit_installed
        from agenticrs.platform.errors import NotFound
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.wiring import build_services

        if not names and not all_:
            raise NotFound("name the agents to admit", hint="or give --all")
        with err.status("running the checks"):
            reports = admit_installed(build_services(load_settings()), tuple(names or ()))
        rows = [
            {
                "agent": name,
                "admitted": report.admitted,
                "check": check.name,
                "passed": check.passed,
                "detail": check.detail,
            }
            for name, report in reports.items()
            for check in report.checks
        ]
        table("admission", rows, as_json=as_json)
