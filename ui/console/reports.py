"""Report cards: the last one of each composition, as `agenticrs report` left it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from agenticrs.evolution.report_card import shelf
from agenticrs.evolution.report_card.card import Dimension, Figure
from agenticrs.platform.errors import NotFound
from agenticrs.registry import compositions, promotion
from agenticrs.ui.api.dependencies import Deps, Key, Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console import bars_svg
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import Pages

router = APIRouter(include_in_schema=False)
_DRAWN = {
    "quality": ("value@10", "ndcg@10"),
    "coordination": ("credit", "share of what is shown"),
    "system": ("reward lost",),
    "human": ("value@10",),
    "economy": ("search seconds",),
}
"""Figures of which a picture tells more than the table."""


@dataclass(frozen=True)
class DimensionView:
    """A dimension as its card shows it: figures by name, and a picture of some."""

    title: str
    figures: Mapping[str, Sequence[Figure]]
    pictures: Mapping[str, Markup]


@router.get("/reports")
def list_reports(
    request: Request, someone: Someone, deps: Deps, session: Registry, page: PageNumber = 1
) -> Response:
    """The cards that there are, and whether what serves has one."""
    settings = deps.settings
    home, surface = settings.home, settings.surface
    serving = promotion.serving(session, surface)
    table = page_of(
        lambda limit, offset: shelf.stored(home, surface, limit, offset),
        total=shelf.count(home, surface),
        number=page,
        path="/reports",
        size=25,
    )
    pages: Pages = request.app.state.pages
    return pages.page(
        request,
        "reports.html",
        person=someone,
        table=table,
        shown={card.composition: _first(card.dimensions) for card in table.rows},
        serving=serving.number if serving else None,
        missing=serving is not None and shelf.load(home, surface, serving.number) is None,
    )


@router.get("/reports/{number}")
def show_report(
    request: Request,
    someone: Someone,
    deps: Deps,
    session: Registry,
    number: Key,
) -> Response:
    """A composition's card, or how to make it."""
    settings = deps.settings
    if compositions.find(session, settings.surface, number) is None:
        raise NotFound(f"there is no composition {number}", hint="the overview lists what served")
    card = shelf.load(settings.home, settings.surface, number)
    serving = promotion.serving(session, settings.surface)
    pages: Pages = request.app.state.pages
    return pages.page(
        request,
        "report.html",
        person=someone,
        number=number,
        serves=serving is not None and serving.number == number,
        card=card,
        dimensions=[_view(one) for one in card.dimensions] if card else [],
    )


def _view(dimension: Dimension) -> DimensionView:
    figures = dimension.by_name()
    drawn = {
        name: bars_svg.draw(
            figures.get(name, ()),
            name=f"bars-{dimension.key}-{place}",
            title=f"{dimension.title}, {name}",
        )
        for place, name in enumerate(_DRAWN.get(dimension.key, ()))
    }
    pictures = {name: picture for name, picture in drawn.items() if picture}
    return DimensionView(dimension.title, figures, pictures)


def _first(dimensions: Sequence[Dimension]) -> dict[str, float | None]:
    """What the whole composition shows users, of the first dimension."""
    return {
        figure.name: figure.value
        for one in dimensions[:1]
        for figure in one.figures
        if not figure.of
    }
