"""A small world in which whole cycles run in seconds, in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from tests.made_once import MadeOnce

from agenticrs.agents import catalogue
from agenticrs.evolution.controller import Controller
from agenticrs.evolution.services import Services
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.platform.settings import Settings, load_settings
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.registry import agents, schema
from agenticrs.registry.admission import AdmissionReport

FAST = ("popularity", "itemknn", "ease", "rrf", "history_router", "mmr")


@dataclass(frozen=True)
class World:
    """Services on SQLite, a fake MLflow, jobs in this process; agents that fit in no time."""

    services: Services

    def controller(self) -> Controller:
        """A new controller, as after a restart."""
        return Controller(self.services)

    def with_settings(self, **changed: object) -> World:
        """The same world under other settings."""
        settings = self.services.settings.model_copy(update=changed)
        return World(replace(self.services, settings=settings))


MakeWorld = Callable[[Path, Settings], World]


def build(home: Path, settings: Settings) -> World:
    """A world in a folder, with a small generated dataset and the fast agents admitted."""
    torch.set_num_threads(1)  # tiny tensors: more threads only wait for each other
    if "latency_limit_ms" not in settings.model_fields_set:
        # No composition is refused because the machine was busy while it was measured.
        settings = settings.model_copy(update={"latency_limit_ms": 600_000.0})
    _FURNISHED.copy_to(home)
    engine = make_engine(settings.registry_url)
    tracking = MemoryTracking(home / "mlflow")
    return World(Services(engine, tracking, DatasetStore(home / "data"), settings, InlineRunner))


def _furnish(home: Path) -> None:
    engine = make_engine(load_settings(home=home).registry_url)
    schema.upgrade(engine)
    raw = generate(GeneratorConfig(n_users=400, n_items=120)).raw
    DatasetStore(home / "data").save("generated", raw)
    installed = catalogue.installed()
    with session_scope(engine) as session:
        for name in FAST:
            report = AdmissionReport(checks=[], admitted=True)
            agents.record(session, installed.agents[name].spec, report, installed.sources[name])
    engine.dispose()


_FURNISHED = MadeOnce(_furnish)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh world."""
    return build(tmp_path, load_settings(home=tmp_path, trials=2, simulated_users=0))


@pytest.fixture
def make_world() -> MakeWorld:
    """Builds worlds in given folders."""
    return build
