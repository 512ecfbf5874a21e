"""``agenticrs report``: how good a composition is, in five dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agenticrs.ui.cli.output import JsonOption, emit, friendly, out, record, table

if TYPE_CHECKING:
    from agenticrs.evolution.report_card.card import Dimension, ReportCard


def report(
    composition: Annotated[
        int | None, typer.Argument(help="Composition (default: what serves)")
    ] = None,
    shapley: Annotated[
        bool, typer.Option("--shapley", help="Credit as Shapley values: up to 64 more runs")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a composition, and keep the card for the console."""
    with friendly():
        from agenticrs.evolution.report_card import shelf
        from agenticrs.evolution.report_card.making import report_on
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.cli.progress import watching
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with watching(quiet=as_json) as watch:
            card = report_on(services, composition, shapley=shapley, watch=watch)
        shelf.store(services.settings.home, card)
        if as_json:
            emit(card.model_dump(mode="json"))
            return
        show_card(card)


def show_card(card: ReportCard) -> None:
    """Print what the card is of, and a table for each dimension."""
    record(
        f"composition {card.composition}",
        {
            "data": f"{card.dataset} {card.fingerprint}",
            "split": f"{card.split}, validation part",
            "users": f"{card.users:,} whose rows neither steered a search nor taught an agent",
            "measured": f"{card.made_at:%Y-%m-%d %H:%M} UTC, in {card.seconds:.1f} s",
        },
        as_json=False,
    )
    for dimension in card.dimensions:
        table(dimension.title, rows_of(dimension), as_json=False)
    out.print(f"the console keeps it at /reports/{card.composition}")


def rows_of(dimension: Dimension) -> list[dict[str, Any]]:
    """A row for each figure; those of one name stand together."""
    return [
        {
            "figure": figure.name,
            "of": figure.of,
            "value": figure.value,
            "interval": ""
            if figure.low is None or figure.high is None
            else f"{figure.low:.4f} .. {figure.high:.4f}",
            "how it was measured": figure.how,
        }
        for figures in dimension.by_name().values()
        for figure in figures
    ]
