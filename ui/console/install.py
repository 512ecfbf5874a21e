"""Adds the console to an app: its pages, its static files, its error page."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from agenticrs.ui.api.dependencies import AppDependencies
from agenticrs.ui.console import (
    administration,
    agents,
    appearance,
    audit,
    canary,
    compositions,
    cycle_reports,
    cycles,
    decisions,
    divergence,
    entrance,
    experiments,
    identity,
    live,
    memory,
    objectives,
    overview,
    proposals,
    reports,
    schedules,
)
from agenticrs.ui.console.rendering import Pages

_PARTS = (
    entrance,
    appearance,
    overview,
    live,  # before the pages: /proposals/events is no proposal
    proposals,
    decisions,
    cycles,
    cycle_reports,
    schedules,
    agents,
    compositions,
    objectives,
    memory,
    experiments,
    canary,
    reports,
    audit,
    administration,
    identity,
    divergence,
)
STATIC = Path(__file__).resolve().parents[1] / "static"


def install(app: FastAPI) -> None:
    """Mount the console on an app whose state holds the dependencies."""
    deps: AppDependencies = app.state.dependencies
    app.state.pages = Pages(deps.settings.surface)
    app.state.error_page = app.state.pages.error
    for module in _PARTS:
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
