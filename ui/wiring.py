"""Where the parts are put together: settings in, services and controller out."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path

from agenticrs.evolution.controller import Controller
from agenticrs.evolution.cycle import Watcher
from agenticrs.evolution.services import Services
from agenticrs.platform import logs
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import make_engine
from agenticrs.platform.jobs.job import JobRunner
from agenticrs.platform.llm.openai_client import OpenAIModel
from agenticrs.platform.llm.port import LanguageModel
from agenticrs.platform.sandbox.permission import permit
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracking.server import connect
from agenticrs.registry import schema


def build_services(settings: Settings) -> Services:
    """Open (and bring up to date) the registry, connect to MLflow, find the datasets."""
    permit(settings.generated_code)
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = make_engine(settings.registry_url)
    schema.upgrade(engine)
    logs.configure(settings)

    def open_runner() -> AbstractContextManager[JobRunner]:
        from agenticrs.platform.jobs.ray_runner import RayRunner

        return RayRunner(settings.ray_address or _running_ray(settings.home), settings.home)

    return Services(
        engine=engine,
        tracking=connect(settings),
        datasets=DatasetStore(settings.home / "data"),
        settings=settings,
        open_runner=open_runner,
        language_models=language_models(settings),
    )


def language_models(settings: Settings) -> list[LanguageModel]:
    """A client for each configured model; the SDK is loaded at the first question."""
    key = settings.llm_api_key
    return [
        OpenAIModel(
            name,
            api_key=None if key is None else key.get_secret_value(),
            base_url=settings.llm_base_url,
        )
        for name in settings.language_models
    ]


def _running_ray(home: Path) -> str | None:
    """The Ray of an `agenticrs up` that runs on this home, or None."""
    try:
        services = json.loads((home / "run" / "services.json").read_text())
        os.kill(int(services["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    if ray_token(home).exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(ray_token(home)))
    address: str | None = services.get("ray")
    return address


def ray_token(home: Path) -> Path:
    """File with the token that whoever joins the home's own Ray must show."""
    return home / "run" / "ray.token"


def build_controller(settings: Settings, watch: Watcher = lambda event: None) -> Controller:
    """A controller on the real parts."""
    return Controller(build_services(settings), watch)
