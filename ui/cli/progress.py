"""A running cycle in the terminal: one line of what happens, and a log of what is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from agenticrs.ui.cli.output import err, text

if TYPE_CHECKING:
    from agenticrs.evolution.cycle import Event, Watcher


@contextmanager
def watching(*, quiet: bool = False) -> Iterator[Watcher]:
    """A watcher that shows events on standard error while the block runs."""
    if quiet:
        yield lambda event: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def watch(event: Event) -> None:
            progress.update(task, description=f"cycle {event.cycle} {event.step}")
            if event.fraction is not None:
                progress.update(task, total=1.0, completed=event.fraction)
            progress.console.print(f"[dim]{event.step:>9}[/dim]  {text(event.text)}")

        yield watch
