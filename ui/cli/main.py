"""Entry point of ``agenticrs``: only typer and rich are imported before a command runs."""

from __future__ import annotations

import typer

from agenticrs.ui.cli import (
    agents,
    audit,
    canary,
    data,
    evolution,
    experiments,
    memory,
    messages,
    objectives,
    people,
    policies,
    report,
    schedules,
    serving,
    simulation,
    system,
)

app = typer.Typer(
    name="agenticrs",
    help="A self-evolving recommender platform.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.add_typer(data.app, name="data")
app.add_typer(agents.app, name="agents")
app.add_typer(evolution.cycles, name="cycles")
app.add_typer(evolution.proposals, name="proposals")
app.add_typer(memory.app, name="memory")
app.add_typer(canary.app, name="canary")
app.add_typer(experiments.app, name="experiments")
app.add_typer(objectives.app, name="objectives")
app.add_typer(schedules.app, name="schedules")
app.add_typer(messages.app, name="messages")
app.add_typer(audit.app, name="audit")
app.add_typer(policies.app, name="policies")
app.add_typer(people.people, name="people")
app.add_typer(people.tokens, name="tokens")
app.command()(system.demo)
app.command()(system.up)
app.command()(system.config)
app.command()(evolution.evolve)
app.command()(report.report)
app.command()(simulation.simulate)
app.command()(serving.versions)
app.command()(serving.rollback)
app.command()(serving.recommend)


def main() -> None:
    """Run the command."""
    app()
