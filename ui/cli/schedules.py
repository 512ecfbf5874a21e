"""``agenticrs schedules``: list, show, add, edit, pause, resume, run, remove."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agenticrs.ui.cli.output import JsonOption, emit, friendly, out, record, table

if TYPE_CHECKING:
    from agenticrs.ui.schedule_view import ScheduleView

app = typer.Typer(help="Cycles that begin by themselves.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the schedule")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why (kept in the audit log)")]
Who = Annotated[str, typer.Option("--who", help="Who says so", default_factory=getpass.getuser)]
Cron = Annotated[str | None, typer.Option(help="minute hour day month weekday; '' for none")]
Every = Annotated[float | None, typer.Option(help="Seconds between runs; 0 for none")]
Timezone = Annotated[str | None, typer.Option(help="Like Europe/Berlin (default UTC)")]
Jitter = Annotated[float | None, typer.Option(help="Begin up to so many seconds late")]
Grace = Annotated[float | None, typer.Option(help="Seconds after which a run counts as missed")]
Coalesce = Annotated[
    bool | None, typer.Option("--coalesce/--each", help="Of several due runs the last, or each")
]
Blackout = Annotated[
    list[str] | None, typer.Option(help="'mon-fri 08:00-20:00', can be repeated; '' for none")
]
InBlackout = Annotated[str | None, typer.Option(help="wait until it ends, or skip")]
NewEvents = Annotated[int | None, typer.Option(help="Also after so many interactions; 0: no")]
OnDrift = Annotated[
    bool | None, typer.Option("--on-drift/--not-on-drift", help="Also when the data have drifted")
]
Check = Annotated[float | None, typer.Option(help="Seconds between looks at the data")]
Cooldown = Annotated[float | None, typer.Option(help="Least seconds between triggered runs")]
Kind = Annotated[str | None, typer.Option(help="both, individual, compositional or alternating")]
Agents = Annotated[list[str] | None, typer.Option("--agent", help="Only these agents")]
Trials = Annotated[int | None, typer.Option(help="Candidates for each agent; 0: the setting")]
Seconds = Annotated[float | None, typer.Option(help="Budget of a cycle; 0: the setting")]
GpuSeconds = Annotated[float | None, typer.Option(help="The same on GPUs; 0: the setting")]


@app.command("list")
def list_schedules(as_json: JsonOption = False) -> None:
    """List the schedules with their next times, what they did, and the budget."""
    with friendly():
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.schedule_view import account_dict, overview, run_dict
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        found = overview(services.engine, services.settings)
        if as_json:
            emit(
                {
                    "leader": found.leader,
                    "evolving": found.evolving,
                    "schedules": [one.as_dict() for one in found.schedules],
                    "runs": [run_dict(run) for run in found.runs],
                    "budget": [account_dict(account) for account in found.budget],
                }
            )
            return
        table(
            "schedules",
            [_row(one) for one in found.schedules],
            as_json=False,
            empty="see `agenticrs schedules add --help`",
        )
        if found.runs:
            shown = [
                {
                    "run": run.id,
                    "schedule": run.schedule,
                    "cause": run.cause,
                    "state": run.state,
                    "cycles": ", ".join(str(number) for number in run.cycles.get("ids", [])),
                    "began": run.started_at,
                    "why": run.why,
                }
                for run in found.runs[:10]
            ]
            table("runs", shown, as_json=False)
        limited = [account_dict(one) for one in found.budget if one.limit is not None]
        table("budget", limited, as_json=False, empty="no limit for a day or a month is set")
        if found.schedules and found.leader is None:
            out.print("[dim]nobody carries them out now: start `agenticrs up`[/dim]")


@app.command()
def show(name: Name, as_json: JsonOption = False) -> None:
    """Show a schedule: what it says, its next times, what it did."""
    with friendly():
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        _show(services, name, as_json)


@app.command()
def add(
    name: Name,
    who: Who,
    cron: Cron = None,
    every: Every = None,
    timezone: Timezone = None,
    jitter: Jitter = None,
    grace: Grace = None,
    coalesce: Coalesce = None,
    blackout: Blackout = None,
    in_blackout: InBlackout = None,
    new_events: NewEvents = None,
    on_drift: OnDrift = None,
    check: Check = None,
    cooldown: Cooldown = None,
    kind: Kind = None,
    agent: Agents = None,
    trials: Trials = None,
    seconds: Seconds = None,
    gpu_seconds: GpuSeconds = None,
    reason: Reason = "",
    as_json: JsonOption = False,
) -> None:
    """Add a schedule: by a cron expression, an interval, new data or drift."""
    with friendly():
        from agenticrs.evolution.scheduling import edits
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.wiring import build_services

        values = _given(locals())
        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            edits.add(session, services.settings.surface, name, values, who=who, reason=reason)
        _show(services, name, as_json)


@app.command()
def edit(
    name: Name,
    who: Who,
    cron: Cron = None,
    every: Every = None,
    timezone: Timezone = None,
    jitter: Jitter = None,
    grace: Grace = None,
    coalesce: Coalesce = None,
    blackout: Blackout = None,
    in_blackout: InBlackout = None,
    new_events: NewEvents = None,
    on_drift: OnDrift = None,
    check: Check = None,
    cooldown: Cooldown = None,
    kind: Kind = None,
    agent: Agents = None,
    trials: Trials = None,
    seconds: Seconds = None,
    gpu_seconds: GpuSeconds = None,
    reason: Reason = "",
    as_json: JsonOption = False,
) -> None:
    """Change what is given, and keep the rest."""
    with friendly():
        from agenticrs.evolution.scheduling import edits
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import schedules
        from agenticrs.ui.wiring import build_services

        values = _given(locals())
        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = schedules.get(session, services.settings.surface, name)
            # The other way of telling a time goes when one is given.
            other = {"cron": ("every_seconds", None), "every_seconds": ("cron", "")}
            instead = dict(other[key] for key in other if values.get(key))
            edits.edit(
                session,
                services.settings.surface,
                name,
                {**row.spec, **instead, **values},
                who=who,
                reason=reason,
                version=row.version,
            )
        _show(services, name, as_json)


@app.command()
def pause(name: Name, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Let nothing begin by it until it is resumed."""
    _do("pause", name, reason, who, as_json)


@app.command()
def resume(name: Name, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Let it go on; what would have run meanwhile is not made up for."""
    _do("resume", name, reason, who, as_json)


@app.command()
def run(name: Name, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Ask `agenticrs up` to begin a run now, also when it is paused or in a blackout."""
    _do("run_now", name, reason, who, as_json)


@app.command()
def remove(name: Name, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Remove a schedule; what it did stays in the record."""
    with friendly():
        from agenticrs.evolution.scheduling import edits
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            edits.remove(session, services.settings.surface, name, who=who, reason=reason)
        record(f"schedule {name}", {"state": "removed"}, as_json=as_json)


def _do(change: str, name: str, reason: str, who: str, as_json: bool) -> None:
    with friendly():
        from agenticrs.evolution.scheduling import edits
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.schedule_view import overview
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            getattr(edits, change)(session, services.settings.surface, name, who=who, reason=reason)
        _show(services, name, as_json)
        if not as_json and overview(services.engine, services.settings).leader is None:
            out.print(
                "[dim]nobody carries schedules out now: it counts from `agenticrs up` on[/dim]"
            )


def _show(services: Any, name: str, as_json: bool) -> None:
    from agenticrs.platform.database import session_scope
    from agenticrs.registry import schedules
    from agenticrs.ui.schedule_view import run_dict, view

    with session_scope(services.engine) as session:
        row = schedules.get(session, services.settings.surface, name)
        runs = schedules.runs(session, services.settings.surface, name, limit=10)
    found = view(row, next(iter(runs), None))
    if as_json:
        emit({**found.as_dict(), "runs": [run_dict(run) for run in runs]})
        return
    shown = {**_row(found), **found.spec.model_dump(mode="json", exclude_defaults=True)}
    shown["next_times"] = ", ".join(
        at.astimezone().strftime("%Y-%m-%d %H:%M %Z") for at in found.next
    )
    record(f"schedule {name}", shown, as_json=False)
    if runs:
        rows = [{k: v for k, v in run_dict(run).items() if k != "schedule"} for run in runs]
        table("runs", rows, as_json=False)


def _row(one: ScheduleView) -> dict[str, Any]:
    return {
        "schedule": one.row.name,
        "when": one.when,
        "zone": one.spec.timezone,
        "state": "asked to run" if one.row.asked_by else one.row.state,
        "next": next(iter(one.next), None),
        "cycles": one.spec.kind,
        "last": "" if one.last is None else f"{one.last.state} ({one.last.cause})",
        "checked": one.row.checked,
    }


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Fields of a spec from a command's options; those that were not given are left out."""
    fields = {
        "cron": "cron",
        "every": "every_seconds",
        "timezone": "timezone",
        "jitter": "jitter_seconds",
        "grace": "grace_seconds",
        "coalesce": "coalesce",
        "blackout": "blackouts",
        "in_blackout": "in_blackout",
        "new_events": "new_events",
        "on_drift": "on_drift",
        "check": "check_seconds",
        "cooldown": "cooldown_seconds",
        "kind": "kind",
        "agent": "agents",
        "trials": "trials",
        "seconds": "seconds",
        "gpu_seconds": "gpu_seconds",
    }
    found = {field: options[name] for name, field in fields.items() if options[name] is not None}
    for name in ("every_seconds", "new_events", "trials", "seconds", "gpu_seconds"):
        if found.get(name) == 0:
            found[name] = None  # taken away
    for name in ("blackouts", "agents"):
        if name in found:
            found[name] = [text for text in found[name] if text]
    return found
