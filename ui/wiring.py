"""Where the parts are put together: settings in, services and controller out."""

from __future__ import annotations

from contextlib import AbstractContextManager

from agenticrs.evolution.controller import Controller
from agenticrs.evolution.cycle import Watcher
from agenticrs.evolution.services import Services
from agenticrs.platform import logs
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import make_engine
from agenticrs.platform.jobs.job import JobRunner
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracking.server import connect
from agenticrs.registry import schema


def build_services(settings: Settings) -> Services:
    """Open (and bring up to date) the registry, connect to MLflow, find the datasets."""
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = make_engine(settings.registry_url)
    schema.upgrade(engine)
    logs.configure(settings)

    def open_runner() -> AbstractContextManager[JobRunner]:
        from agenticrs.platform.jobs.ray_runner import RayRunner

        return RayRunner(settings.ray_address, settings.home)

    return Services(
        engine=engine,
        tracking=connect(settings),
        datasets=DatasetStore(settings.home / "data"),
        settings=settings,
        open_runner=open_runner,
    )


def build_controller(settings: Settings, watch: Watcher = lambda event: None) -> Controller:
    """A controller on the real parts."""
    return Controller(build_services(settings), watch)
