"""Light, dark, or as the reader's system says: a cookie, which every page is rendered by."""

from __future__ import annotations

from starlette.requests import Request

COOKIE = "agenticrs_theme"
THEMES = ("light", "dark")


def theme_of(request: Request) -> str:
    """light, dark, or nothing where the system decides."""
    found = request.cookies.get(COOKIE, "")
    return found if found in THEMES else ""
