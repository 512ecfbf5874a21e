"""``agenticrs objectives``: show, propose, decide, reset."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from agenticrs.ui.cli.output import JsonOption, friendly, record, table

if TYPE_CHECKING:
    from agenticrs.registry.tables import ObjectiveRow

app = typer.Typer(help="Weights of the business objectives.", no_args_is_help=True)

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why (kept in the audit log)")]
Who = Annotated[str, typer.Option("--who", help="Who decides", default_factory=getpass.getuser)]


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Show which weights hold, and the proposals to change them."""
    with friendly():
        from agenticrs.evolution.objective_configuration import in_words
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import objectives
        from agenticrs.ui.objective_view import held_weights
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            rows = objectives.list_all(session, services.settings.surface)
            held = held_weights(session, services.settings)
        holds, origin = in_words(held.shares), held.source
        found = [_fields(row) for row in rows]
        if as_json:
            record("objectives", {"holds": holds, "from": origin, "proposals": found}, as_json=True)
            return
        record("objectives", {"holds": holds, "from": origin}, as_json=False)
        if found:
            table("proposals", found, as_json=False)


@app.command()
def propose(as_json: JsonOption = False) -> None:
    """Learn weights from simulated users, and verify them by an experiment."""
    with friendly():
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.wiring import build_controller

        _print(build_controller(load_settings()).propose_objectives(), as_json)


@app.command()
def decide(
    number: Annotated[int, typer.Argument(help="Number of the proposal")],
    verdict: Annotated[str, typer.Argument(help="approve or reject")],
    reason: Reason,
    who: Who,
    as_json: JsonOption = False,
) -> None:
    """Approve or reject weights that wait; approved ones hold from the next cycle on."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.errors import NotAllowed
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import objectives
        from agenticrs.ui.wiring import build_services

        services, surface = build_services(settings := load_settings()), settings.surface
        if verdict not in ("approve", "reject"):
            raise NotAllowed(f"unknown verdict {verdict!r}", hint="approve or reject")
        with session_scope(services.engine) as session:
            row = objectives.decide(
                session,
                surface,
                number,
                verdict="approve" if verdict == "approve" else "reject",
                who=who,
                reason=reason,
            )
        _print(row, as_json)


@app.command()
def reset(reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Let the weights of the settings hold again."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import objectives
        from agenticrs.ui.wiring import build_services

        services, surface = build_services(settings := load_settings()), settings.surface
        with session_scope(services.engine) as session:
            row = objectives.reset(session, surface, who=who, reason=reason)
        _print(row, as_json)


def _print(row: ObjectiveRow, as_json: bool) -> None:
    record(f"objectives {row.id}", _fields(row), as_json=as_json)


def _fields(row: ObjectiveRow) -> dict[str, object]:
    from agenticrs.evolution.objective_configuration import in_words

    return {
        "proposal": row.id,
        "state": row.state,
        "before": in_words(row.before),
        "after": in_words(row.after),
        "reason": row.reason,
        "by": row.proposed_by,
        "who": row.who,
        "at": row.at,
    }
