"""A surface in a folder that a benchmark evolves, copies and asks, in this process."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agenticrs.agents import catalogue
from agenticrs.agents.trial import CompositionResult, run_composition
from agenticrs.evolution import sensing
from agenticrs.evolution.controller import Controller
from agenticrs.evolution.request import CycleKind
from agenticrs.evolution.services import Services
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.platform.jobs.job import Job, Outcome
from agenticrs.platform.settings import load_settings
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.registry import agents, promotion, proposals, schema, versions
from agenticrs.registry.admission import AdmissionReport
from agenticrs.registry.graph import Graph

AGENTS = (
    *("popularity", "trending", "itemknn", "cooccurrence", "ease"),
    *("rrf", "score_fusion", "history_router"),
)
DATA, SURFACE = "generated", "home"
COVERAGE = 0.05
"""Guardrail: least share of the champion's catalogue coverage."""


class Clocked(InlineRunner):
    """Jobs in this process; their seconds are the processor's, and ``spent`` keeps them all."""

    def __init__(self, spent: list[float]) -> None:
        super().__init__()
        self._spent = spent

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Run the jobs in their order."""
        outcomes = super().run(jobs)
        while True:
            begin = time.process_time()
            outcome = next(outcomes, None)
            if outcome is None:
                return
            self._spent.append(time.process_time() - begin)
            yield replace(outcome, seconds=self._spent[-1])


@dataclass(frozen=True)
class Place:
    """A surface in a folder: registry, weights, data, and the seconds that its jobs took."""

    services: Services
    spent: list[float]

    @staticmethod
    def at(home: Path, seed: int, trials: int, split: str) -> Place:
        """An empty one, with the agents admitted."""
        settings = load_settings(
            home=home,
            trials=trials,
            split=split,
            seed=seed,
            # Turns by credit depend on seconds, guardrails on latency: runs would differ.
            turns="rotation",
            # As it was measured: held-out value alone is the outer reward.
            simulated_users=0,
            latency_limit_ms=60_000.0,
            # What fits a great event shows few items: the default, .8, forbids every such graph.
            coverage_floor=COVERAGE,
        )
        engine, installed = make_engine(settings.registry_url), catalogue.installed()
        schema.upgrade(engine)
        with session_scope(engine) as session:
            for name in AGENTS:
                report = AdmissionReport(checks=[], admitted=True)
                agents.record(session, installed.agents[name].spec, report, installed.sources[name])
        spent: list[float] = []
        tracking, datasets = MemoryTracking(home / "mlflow"), DatasetStore(home / "data")
        services = Services(engine, tracking, datasets, settings, lambda: Clocked(spent))
        return Place(services, spent)

    def twin(self, home: Path) -> Place:
        """A copy in another folder, which has spent nothing yet."""
        settings, mine = self.services.settings, self.services.tracking
        shutil.copytree(settings.home, home)
        twin = Place.at(home, settings.seed, settings.trials, settings.split)
        for name in ("experiments", "runs", "models"):
            setattr(twin.services.tracking, name, copy.deepcopy(getattr(mine, name)))
        return twin

    def cycle(self, kind: CycleKind, trials: int | None = None, of: tuple[str, ...] = ()) -> None:
        """One cycle; what it proposes is approved at once."""
        controller = Controller(self.services)
        controller.evolve((kind,), agents=of, trials=trials)
        with session_scope(self.services.engine) as session:
            waiting = [row.id or 0 for row in proposals.list_all(session, SURFACE, "waiting")]
        for number in waiting:
            controller.decide(number, verdict="approve", who="script", reason="it is better")

    def alarm(self) -> str:
        """Why the newest snapshot speaks for another graph; empty when it does not."""
        dataset = self.services.datasets.load(DATA)
        look = sensing.look_at(self.services, SURFACE, dataset)
        return sensing.restructure_first(self.services, SURFACE, look)

    def serving(self) -> Graph:
        """The graph that serves."""
        with session_scope(self.services.engine) as session:
            row = promotion.serving(session, SURFACE)
        if row is None:
            raise RuntimeError("nothing serves")
        return Graph.model_validate(row.graph)

    def answer(self, fold: Fold) -> CompositionResult:
        """What serves, asked for all held-out users."""
        graph, files = self.serving(), {}
        for node in graph.nodes:
            model = versions.model_name(SURFACE, node.agent)
            folder = self.services.tracking.download(model, node.version)
            files[node.agent, node.version] = {p.name: p.read_bytes() for p in folder.iterdir()}
        with session_scope(self.services.engine) as session:
            specs = agents.admitted(session)
        return run_composition(fold, graph, specs, files, 100, ())
