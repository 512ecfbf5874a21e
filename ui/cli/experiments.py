"""``agenticrs experiments``: list, show, begin, arms, observe, stop."""

from __future__ import annotations

import csv
import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agenticrs.ui.cli.output import JsonOption, emit, friendly, record, table

if TYPE_CHECKING:
    from agenticrs.registry.tables import ExperimentRow

app = typer.Typer(help="Experiments with two arms.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(help="Number of the experiment")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why (kept in the audit log)")]
Who = Annotated[str, typer.Option("--who", help="Who says so", default_factory=getpass.getuser)]


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """List the experiments of the surface, newest first."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import experiments
        from agenticrs.ui.experiment_view import experiment_view
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            rows = experiments.all_of(session, services.settings.surface)
        views = [experiment_view(row) for row in rows]
        table(
            "experiments",
            [
                {
                    "experiment": one.experiment,
                    "title": one.title,
                    "state": one.state,
                    "step": f"{one.step} of {one.horizon}",
                    "users": sum(arm.users for arm in one.arms),
                    "reward": one.reason,
                }
                for one in views
            ],
            as_json=as_json,
        )


@app.command()
def show(number: Number, as_json: JsonOption = False) -> None:
    """Show one: arms, shares, intervals, guardrails, and why it stands where it does."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import experiments
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = experiments.get(session, services.settings.surface, number)
        _print(row, as_json)


@app.command()
def begin(
    title: Annotated[str, typer.Argument(help="What is asked")],
    treatment: Annotated[str, typer.Option(help="What the users of the treatment see")],
    control: Annotated[str, typer.Option(help="What the others see")],
    reason: Reason,
    who: Who,
    allocation: Annotated[float, typer.Option(help="Share of the users in the treatment")] = 0.5,
    horizon: Annotated[int, typer.Option(help="Steps after which it ends")] = 14,
    users: Annotated[int, typer.Option(help="Expected users a step")] = 1000,
    margin: Annotated[float, typer.Option(help="Part of the reward that may be lost")] = 0.01,
    guardrail: Annotated[
        list[str] | None,
        typer.Option(help="NAME=MARGIN of what shall not grow; +NAME=MARGIN: not shrink"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan an experiment; users are told apart by `arms`, what they brought by `observe`."""
    with friendly():
        from agenticrs.evolution import experiments
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.experiment_input import guardrail_of
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        wanted = experiments.Wanted(
            title=title,
            treatment=treatment,
            control=control,
            allocation=allocation,
            horizon=horizon,
            users=users,
            margin=margin,
            guardrails=tuple(guardrail_of(text) for text in guardrail or ()),
        )
        row = experiments.begin(
            services.engine,
            services.tracking,
            services.settings,
            wanted,
            who=who,
            reason=reason,
        )
        _print(row, as_json)


@app.command()
def arms(
    number: Number,
    users: Annotated[list[str] | None, typer.Argument(help="Ids; none: one a line, piped")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the arm of each user as CSV: the same whenever and wherever it is asked."""
    with friendly():
        from agenticrs.evolution import experiments as carried_out
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import experiments
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = experiments.get(session, services.settings.surface, number)
        asked = users or [line.strip() for line in sys.stdin if line.strip()]
        found = list(zip(asked, carried_out.arms(row, asked), strict=True))
        if as_json:
            emit([{"user": user, "arm": arm} for user, arm in found])
            return
        written = csv.writer(sys.stdout, lineterminator="\n")
        written.writerows([("user", "arm"), *found])


@app.command()
def observe(
    number: Number,
    file: Annotated[
        Path, typer.Argument(help="CSV: user, reward, each guardrail, maybe before", exists=True)
    ],
    who: Who,
    as_json: JsonOption = False,
) -> None:
    """One step: users whose reward has come due count, and what follows is concluded."""
    with friendly():
        from agenticrs.evolution import experiments
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.experiment_input import told_of
        from agenticrs.ui.wiring import build_services

        services = build_services(settings := load_settings())
        with file.open(newline="", encoding="utf-8") as rows:
            told = told_of(rows)
        row = experiments.observe(services.engine, settings.surface, number, told, who=who)
        _print(row, as_json)


@app.command()
def stop(number: Number, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """End an experiment without a conclusion."""
    with friendly():
        from agenticrs.evolution import experiments
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.wiring import build_services

        services = build_services(settings := load_settings())
        row = experiments.stop(services.engine, settings.surface, number, who=who, reason=reason)
        _print(row, as_json)


def _print(row: ExperimentRow, as_json: bool) -> None:
    from agenticrs.ui.experiment_view import experiment_view

    fields = experiment_view(row).as_dict()
    parts = {} if as_json else {name: fields.pop(name) for name in ("arms", "metrics")}
    record(f"experiment {row.id}", fields, as_json=as_json)
    for name, rows in parts.items():
        table(name, rows, as_json=False)
