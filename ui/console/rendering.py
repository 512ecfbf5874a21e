"""From values to HTML: one Jinja environment that escapes everything, and its filters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from agenticrs.ui.api.credentials import Person
from agenticrs.ui.api.errors import Problem
from agenticrs.ui.console.navigation import MENU
from agenticrs.ui.console.theme import theme_of

_DASH = "–"  # noqa: RUF001


class Pages:
    """Renders templates; one for an app."""

    def __init__(self, surface: str) -> None:
        made = Environment(
            loader=PackageLoader("agenticrs.ui.console", "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        made.filters |= {
            "moment": moment,
            "lasting": lasting,
            "figure": figure,
            "plain": plain,
            "signed": signed,
            "percent": percent,
            "settings": settings,
            "words": lambda text: str(text).replace("_", " "),
        }
        made.globals |= {"surface": surface, "menu": MENU}
        self._environment = made

    def fragment(self, template: str, **values: Any) -> str:
        """A piece of a page."""
        return self._environment.get_template(template).render(**values)

    def page(
        self,
        request: Request,
        template: str,
        *,
        person: Person | None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """A whole page; ``person`` None shows no navigation."""
        html = self.fragment(
            template,
            path=request.url.path,
            here=f"{request.url.path}?{request.url.query}"
            if request.url.query
            else request.url.path,
            theme=theme_of(request),
            person=person,
            csrf=person.session.csrf if person and person.session else "",
            **values,
        )
        return HTMLResponse(html, status, headers=headers)

    def error(self, request: Request, problem: Problem) -> HTMLResponse:
        """A page that says what went wrong and what to do next."""
        return self.page(
            request,
            "error.html",
            person=getattr(request.state, "somebody", None),
            status=problem.status,
            headers=problem.headers,
            problem=problem,
        )


def pages_of(request: Request) -> Pages:
    """The app's pages."""
    found: Pages = request.app.state.pages
    return found


def moment(at: datetime | None) -> Markup:
    """A time, readable by programs too: in UTC until a script has shown it in the reader's zone."""
    if at is None:
        return Markup("–")  # noqa: RUF001
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{0}" title="{1}">{1}</time>').format(
        utc.isoformat(timespec="seconds"), utc.strftime("%d %b %Y, %H:%M:%S UTC")
    )


def lasting(seconds: Any) -> str:
    """A length of time as people say it."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return _DASH
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"


def figure(value: Any) -> str:
    """A number as people compare it; a dash for what is missing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _DASH if value is None or value == "" else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4f}"


def plain(value: Any) -> str:
    """A number without needless zeros."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return figure(value)
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"


def signed(value: Any) -> str:
    """A difference."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _DASH
    return f"{value:+.4f}"


def settings(values: Mapping[str, Any]) -> Markup:
    """A config as people read it: names with numbers of four digits, nested ones by a dot."""
    parts: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            parts += [(f"{name}.{inner}", plain(own)) for inner, own in value.items()]
        else:
            parts.append((name, plain(value)))
    return Markup(" ").join(
        Markup("<span><i>{0}</i>&nbsp;{1}</span>").format(name, text) for name, text in parts
    )


def percent(value: Any) -> str:
    """A share as a signed percentage."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _DASH
    return f"{100 * value:+.1f} %"
