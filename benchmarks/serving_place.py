"""The API for ``serving.py``: a registry, two compositions, and a stand-in for MLflow.

The second composition is the first with another version of its model: ``POST /swap`` makes the one
that does not serve the champion and follows at once, as the API does when a person decides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI

from agenticrs.agents.artifact import unpack
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.settings import load_settings
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.registry import (
    agents,
    compositions,
    cycles,
    promotion,
    schema,
    trials,
    versions,
)
from agenticrs.registry.admission import AdmissionReport
from agenticrs.registry.graph import Graph, Node
from agenticrs.ui.api.app import create_app
from agenticrs.ui.api.dependencies import AppDependencies
from agenticrs.ui.garbage import look_at_new_objects_only
from agenticrs.ui.serving import ServingModel


class Place:
    """The registry of one server, filled from files that ``serving.build`` has made."""

    def __init__(self, home: Path, own: Path) -> None:
        self.settings = load_settings(home=own)
        own.mkdir(parents=True, exist_ok=True)
        self.engine = make_engine(self.settings.registry_url)
        schema.upgrade(self.engine)
        self.tracking = MemoryTracking(own / "mlflow")
        self.datasets = DatasetStore(home / "data")
        self.fingerprint = self.datasets.load("generated").fingerprint
        self._agents = home / "agents"
        self._promotions = 0

    def publish(self, name: str) -> int:
        """The agent's files as a new version; return its number."""
        folder = self._agents / name
        agent = unpack(folder)
        data = {"dataset": "generated", "fingerprint": self.fingerprint}
        with session_scope(self.engine) as session:
            agents.record(
                session, agent.spec, AdmissionReport(checks=[], admitted=True), source="benchmark"
            )
            cycle = cycles.open_cycle(
                session, surface="home", kind="individual", seed=0, request={}, **data
            )
            trial = trials.propose(
                session,
                cycle_id=cycle.id or 0,
                agent=name,
                number=0,
                method="default",
                config={},
                seed=0,
                split="leave_one_out",
                **data,
            )
            trials.record_full(
                session, trial.id or 0, metrics={}, reward=0.1, seconds=1, device="cpu"
            )
            cycles.finish(session, cycle.id or 0, "done")
        return versions.register(
            self.engine,
            self.tracking,
            surface="home",
            trial_id=trial.id or 0,
            artifacts={file.name: file.read_bytes() for file in folder.iterdir()},
        ).number

    def compose(self, graph: Graph) -> int:
        """A composition; return its number."""
        return compositions.register(
            self.engine,
            self.tracking,
            surface="home",
            graph=graph,
            dataset="generated",
            fingerprint=self.fingerprint,
            metrics={},
            parent=None,
        ).number

    def promote(self, number: int) -> None:
        """Make it the champion."""
        self._promotions += 1
        promotion.promote(
            self.engine,
            self.tracking,
            surface="home",
            after=number,
            who="benchmark",
            reason="to see whether a request fails",
            cause="bootstrap",
            key=f"promotion-{self._promotions}",
        )


def graph(version: int, *, fused: bool) -> Graph:
    """SASRec alone, or fused with ItemKNN."""
    sasrec = Node(id="sasrec", agent="sasrec", version=version)
    if not fused:
        return Graph(nodes=(sasrec,), output="sasrec")
    itemknn = Node(id="itemknn", agent="itemknn", version=1)
    rrf = Node(id="rrf", agent="rrf", version=1, inputs=("sasrec", "itemknn"))
    return Graph(nodes=(sasrec, itemknn, rrf), output="rrf")


def api(home: Path, own: Path, *, fused: bool) -> FastAPI:
    """The app, with the first composition serving."""
    place = Place(home, own)
    found = [place.publish("sasrec"), place.publish("sasrec")]
    if fused:
        place.publish("itemknn")
        place.publish("rrf")
    numbers = [place.compose(graph(version, fused=fused)) for version in found]
    place.promote(numbers[0])
    serving = ServingModel(place.engine, place.tracking, place.datasets, place.settings)
    serving.refresh()
    governance: Any = None
    app = create_app(
        AppDependencies(
            place.engine, place.tracking, place.datasets, serving, governance, place.settings
        )
    )

    @app.post("/swap")
    def swap() -> int:
        other = numbers[serving.status.composition == numbers[0]]
        place.promote(other)
        serving.refresh()
        return other

    look_at_new_objects_only()  # as `agenticrs up` does
    return app
