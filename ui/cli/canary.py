"""``agenticrs canary``: show, step, answer."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from agenticrs.ui.cli.output import JsonOption, friendly, record, table

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from agenticrs.registry.tables import CanaryRow

app = typer.Typer(help="The canary: show, step, answer.", no_args_is_help=True)


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Show the last canary: where it stands, what was seen, and why."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import canaries
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = canaries.latest(session, services.settings.surface)
        _print(services.engine, row, as_json)


@app.command()
def step(as_json: JsonOption = False) -> None:
    """Let users whose time has passed count, and do what follows."""
    with friendly():
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.canary_steps import stepped
        from agenticrs.ui.wiring import build_controller

        controller = build_controller(load_settings())
        _print(controller.services.engine, stepped(controller), as_json)


@app.command()
def answer(
    choice: Annotated[str, typer.Argument(help="watch, advance or rollback")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why (kept in the audit log)")],
    who: Annotated[str, typer.Option("--who", help="Who decides", default_factory=getpass.getuser)],
    as_json: JsonOption = False,
) -> None:
    """Answer a paused canary: watch on, advance, or roll back (also while it runs)."""
    with friendly():
        from agenticrs.evolution.canaries.rollout import ANSWERS
        from agenticrs.platform.errors import NotAllowed
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.canary_steps import answered
        from agenticrs.ui.wiring import build_controller

        if choice not in ANSWERS:
            raise NotAllowed(f"unknown answer {choice!r}", hint=f"one of {', '.join(ANSWERS)}")
        controller = build_controller(load_settings())
        row = answered(controller, choice, who=who, reason=reason)
        _print(controller.services.engine, row, as_json)


def _print(engine: Engine, row: CanaryRow, as_json: bool) -> None:
    from agenticrs.ui.canary_view import canary_view

    fields = canary_view(engine, row).as_dict()
    metrics = [] if as_json else fields.pop("metrics")
    record(f"canary {row.id}", fields, as_json=as_json)
    if metrics:
        table("metrics", metrics, as_json=False)
