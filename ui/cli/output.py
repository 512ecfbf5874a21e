"""How the command speaks: tables for people, JSON for programs, errors with a next step."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from agenticrs.platform.errors import AgenticRSError

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
# A pipe has no width of its own; 80 columns would fold every table.
out = Console(width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True)

Row = Mapping[str, Any]


def table(title: str, rows: Sequence[Row], *, as_json: bool, empty: str = "nothing yet") -> None:
    """Print rows (same keys in each) as a table, or as a JSON list."""
    if as_json:
        emit(list(rows))
        return
    if not rows:
        out.print(f"[dim]{title}: {empty}[/dim]")
        return
    shown = Table(title=title, title_justify="left", header_style="bold")
    for name, value in rows[0].items():
        shown.add_column(
            name.replace("_", " "), justify="right" if isinstance(value, int | float) else "left"
        )
    for row in rows:
        shown.add_row(*(text(value) for value in row.values()))
    out.print(shown)


def record(title: str, fields: Row, *, as_json: bool) -> None:
    """Print one thing with its fields below each other, or as a JSON object."""
    if as_json:
        emit(dict(fields))
        return
    shown = Table(title=title, title_justify="left", show_header=False)
    shown.add_column(style="bold")
    shown.add_column(overflow="fold")
    for name, value in fields.items():
        shown.add_row(name.replace("_", " "), text(value))
    out.print(shown)


def emit(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, default=str, indent=2))


def text(value: Any) -> str:
    """A cell as people read it; markup in data is shown, not obeyed."""
    if value is None:
        return "[dim]-[/dim]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) >= 1000 or value == int(value) else f"{value:.4f}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dict | list | tuple):
        value = json.dumps(value, default=str)
    return str(value).replace("[", r"\[")


@contextmanager
def friendly() -> Iterator[None]:
    """Turn an intended error into two lines and exit code 1."""
    try:
        yield
    except AgenticRSError as error:
        err.print("[bold red]error:[/bold red] " + text(error.message))
        if error.hint:
            err.print("[bold]next:[/bold]  " + text(error.hint))
        raise typer.Exit(1) from error
