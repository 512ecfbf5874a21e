"""``agenticrs memory``: what was tried before, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agenticrs.ui.cli.output import JsonOption, friendly, table

if TYPE_CHECKING:
    from agenticrs.registry.tables import MemoryRow

app = typer.Typer(help="The empirical memory of evolution.", no_args_is_help=True)


@app.callback()
def _memory() -> None:
    """The empirical memory of evolution."""


@app.command()
def search(
    words: Annotated[str, typer.Argument(help="What to look for; without, the newest")] = "",
    agent: Annotated[str | None, typer.Option(help="Only entries about this agent")] = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(help="promoted, better, worse, pruned, failed, approved, rejected; repeat"),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="What worked on data like this dataset's newest snapshot")
    ] = None,
    limit: Annotated[int, typer.Option(help="Most entries to show", min=1)] = 10,
    as_json: JsonOption = False,
) -> None:
    """Search what was proposed, why, and what came of it."""
    with friendly():
        from agenticrs.evolution.remembering import statistics
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import memory
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        verdicts, like = tuple(verdict or ()), None
        if data is not None:
            like = statistics(services.datasets.load(data))
            verdicts = verdicts or memory.GOOD
        with session_scope(services.engine) as session:
            found = memory.search(
                session,
                services.settings.surface,
                words,
                agent=agent,
                verdicts=verdicts,
                data=like,
                limit=limit,
            )
            rows = [
                {
                    "fit": round(entry.fit, 2),
                    "cycle": entry.row.cycle_id,
                    "agent": entry.row.agent,
                    **({"dataset": entry.row.dataset} if data else {}),
                    "origin": entry.row.origin,
                    "proposal": entry.row.proposal,
                    "verdict": entry.row.verdict,
                    "lesson": entry.row.lesson,
                    **(_whole(entry.row) if as_json else {}),
                }
                for entry in found
            ]
        table("memory", rows, as_json=as_json, empty="run `agenticrs evolve`")


def _whole(row: MemoryRow) -> dict[str, object]:
    """What is too wide for a table."""
    return {
        "reason": row.reason,
        "expected": row.expected,
        "outcome": row.outcome,
        "segments": row.segments,
        "cost": row.cost,
        "dataset": row.dataset,
        "structure": row.structure,
    }
