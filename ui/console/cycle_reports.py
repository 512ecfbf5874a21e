"""The report of a cycle as a page, and as the files that can be taken along."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from agenticrs.evolution.cycle_report.contents import report_of
from agenticrs.evolution.cycle_report.text import body, markdown
from agenticrs.ui.api.dependencies import Deps, Key
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)


@router.get("/cycles/{cycle_id}/report")
def show_report(request: Request, someone: Someone, deps: Deps, cycle_id: Key) -> Response:
    """What it tried, what won, why, what it cost: made of its rows as they are now."""
    report = report_of(deps.engine, cycle_id)
    return pages_of(request).page(
        request,
        "cycle_report.html",
        person=someone,
        report=report,
        body=Markup(body(report)),  # noqa: S704 (escaped where it is made)
    )


@router.get("/cycles/{cycle_id}/report.{ending}")
def take_report(
    someone: Someone, deps: Deps, cycle_id: Key, ending: Literal["md", "svg"]
) -> Response:
    """The Markdown, or its picture, as a file."""
    report = report_of(deps.engine, cycle_id)
    pictures = {"svg": next((picture.svg for picture in report.pictures), "")}
    content = pictures.get(ending, "") if ending == "svg" else markdown(report)
    return Response(
        content,
        media_type={"md": "text/markdown; charset=utf-8", "svg": "image/svg+xml"}[ending],
        headers={"Content-Disposition": f'attachment; filename="cycle-{cycle_id}.{ending}"'},
    )
