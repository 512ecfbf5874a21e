"""A place with everything behind the app that is real but small: SQLite, a fake MLflow, agents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from tests.made_once import MadeOnce

from agenticrs.agents.agent import Budget
from agenticrs.agents.artifact import pack
from agenticrs.agents.catalogue import build, installed
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.raw import RawLog
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.settings import Settings, load_settings
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.registry import (
    accounts,
    agents,
    compositions,
    cycles,
    promotion,
    proposals,
    schema,
    trials,
    versions,
)
from agenticrs.registry.admission import AdmissionReport, Check
from agenticrs.registry.graph import Condition, Graph, Node
from agenticrs.registry.tables import CompositionRow, ProposalRow
from agenticrs.ui.api.app import create_app
from agenticrs.ui.api.dependencies import AppDependencies
from agenticrs.ui.serving import ServingModel

PASSWORD = "correct horse battery"
KEPT = {"guardrails": [{"name": "latency", "passed": True}]}
"""Evidence without which a change is of high risk."""
MEMBERS = ("popularity", "itemknn", "rrf", "history_router")


@dataclass
class FakeGovernance:
    """Decides in the registry and promotes at once; remembers what it was asked."""

    engine: Engine
    tracking: MemoryTracking
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def decide(
        self, proposal_id: int, *, verdict: proposals.Verdict, who: str, reason: str
    ) -> None:
        self.calls.append((verdict, proposal_id, who, reason))
        with session_scope(self.engine) as session:
            proposals.decide(session, proposal_id, verdict=verdict, who=who, reason=reason)
            row = proposals.get(session, proposal_id)
        if row.state == "approved":
            promotion.promote(
                self.engine,
                self.tracking,
                surface=row.surface,
                after=row.after,
                who=who,
                reason=reason,
                cause="approval",
                key=f"proposal-{proposal_id}",
            )

    def rollback(self, *, to: int | None, who: str, reason: str) -> None:
        self.calls.append(("rollback", to, who, reason))
        promotion.rollback(
            self.engine, self.tracking, surface="home", to=to, who=who, reason=reason
        )


@dataclass
class Place:
    """What stands behind the app, and how a test changes it."""

    settings: Settings
    engine: Engine
    tracking: MemoryTracking
    datasets: DatasetStore
    governance: FakeGovernance
    serving: ServingModel

    def app_dependencies(self) -> AppDependencies:
        return AppDependencies(
            self.engine,
            self.tracking,
            self.datasets,
            self.serving,
            self.governance,
            self.settings,
            live_seconds=0.05,
        )

    def client(self) -> TestClient:
        """A browser that has not logged in. It does not run the app's lifespan (no thread)."""
        return TestClient(
            create_app(self.app_dependencies()),
            base_url="http://127.0.0.1",
            follow_redirects=False,
        )

    def logged_in(self) -> TestClient:
        """A browser that has logged in as admin."""
        client = self.client()
        log_in(client)
        return client

    def publish(self, name: str, **config: Any) -> int:
        """Fit an agent, register it as a version; return its number."""
        dataset = self.datasets.load("generated")
        with session_scope(self.engine) as session:
            cycle = cycles.open_cycle(
                session,
                surface="home",
                kind="individual",
                dataset="generated",
                fingerprint=dataset.fingerprint,
                seed=0,
                request={},
            )
            trial = trials.propose(
                session,
                cycle_id=cycle.id or 0,
                agent=name,
                number=0,
                method="default",
                config=config,
                seed=0,
                dataset="generated",
                fingerprint=dataset.fingerprint,
                split="leave_one_out",
            )
            trials.record_full(
                session,
                trial.id or 0,
                metrics={"ndcg@10": 0.1},
                reward=0.1,
                seconds=1,
                device="cpu",
            )
            cycles.finish(session, cycle.id or 0, "done")
        agent = build(name, config, seed=0, device="cpu")
        agent.fit(TrainingData.of(dataset), Budget())
        return versions.register(
            self.engine,
            self.tracking,
            surface="home",
            trial_id=trial.id or 0,
            artifacts=pack(agent, ("itemknn", "popularity") if name == "rrf" else ()),
        ).number

    def compose(self, graph: Graph) -> CompositionRow:
        """Register a composition."""
        dataset = self.datasets.load("generated")
        return compositions.register(
            self.engine,
            self.tracking,
            surface="home",
            graph=graph,
            dataset="generated",
            fingerprint=dataset.fingerprint,
            metrics={"ndcg@10": 0.1},
            parent=None,
        )

    def promote(self, number: int, key: str = "") -> None:
        """Let a composition serve, as evolution would."""
        promotion.promote(
            self.engine,
            self.tracking,
            surface="home",
            after=number,
            who="evolution",
            reason="first",
            cause="bootstrap",
            key=key or f"promote-{number}",
        )

    def propose(self, before: CompositionRow, after: CompositionRow, **told: Any) -> ProposalRow:
        """File a proposal out of a cycle."""
        with session_scope(self.engine) as session:
            cycle = cycles.open_cycle(
                session,
                surface="home",
                kind="compositional",
                dataset="generated",
                fingerprint=after.fingerprint,
                seed=0,
                request={},
            )
            return proposals.file(
                session,
                surface="home",
                cycle_id=cycle.id or 0,
                title=told.get("title", "a better composition"),
                before=before.number,
                after=after.number,
                digest=after.digest,
                evidence=told.get("evidence", KEPT),
                proposed_by=told.get("proposed_by", "evolution"),
            )


def popular_only(version: int = 1) -> Graph:
    """The smallest composition."""
    return Graph(
        nodes=(Node(id="popularity", agent="popularity", version=version),), output="popularity"
    )


def routed() -> Graph:
    """Cold users get popularity, the others ItemKNN, fused."""
    return Graph(
        nodes=(
            Node(id="history_router", agent="history_router", version=1),
            Node(
                id="popularity",
                agent="popularity",
                version=1,
                when=Condition(node="history_router", segments=("cold",)),
            ),
            Node(
                id="itemknn",
                agent="itemknn",
                version=1,
                when=Condition(node="history_router", segments=("warm",)),
            ),
            Node(id="rrf", agent="rrf", version=1, inputs=("itemknn", "popularity")),
        ),
        output="rrf",
    )


def log_in(client: TestClient, password: str = PASSWORD) -> None:
    """Go through the login form like a browser."""
    token = csrf_of(client.get("/login").text)
    answer = client.post("/login", data={"name": "admin", "password": password, "csrf": token})
    assert answer.status_code == 303, answer.text


def csrf_of(html: str) -> str:
    """The token in a page's first form."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', html)
    assert found is not None, html
    return found.group(1)


def small_log() -> RawLog:
    """What the places' users did."""
    return generate(GeneratorConfig(n_users=120, n_items=60, events_per_user=25)).raw


def build_place(home: Path, **settings: Any) -> Place:
    """A place in a folder, with an account and admitted agents; nothing serves."""
    if "database_url" in settings:
        _furnish(home, settings["database_url"])
    else:
        _FURNISHED.copy_to(home)
    return _opened(home, MemoryTracking(home / "mlflow"), **settings)


def _furnish(home: Path, database_url: str | None = None) -> None:
    engine = make_engine(load_settings(home=home, database_url=database_url).registry_url)
    schema.upgrade(engine)
    DatasetStore(home / "data").save("generated", small_log())
    known = installed()
    report = AdmissionReport(
        checks=[Check(name="closed loop", passed=True, detail="users -> candidates")],
        admitted=True,
    )
    with session_scope(engine) as session:
        accounts.create(session, "admin", PASSWORD, "admin")
        for name in MEMBERS:
            agents.record(session, known.agents[name].spec, report, known.sources[name])
    engine.dispose()


def _serve(home: Path) -> MemoryTracking:
    place = build_place(home)
    for name in MEMBERS:
        place.publish(name)
    first = place.compose(popular_only())
    place.compose(routed())
    place.promote(first.number)
    place.engine.dispose()
    return place.tracking


_FURNISHED = MadeOnce(_furnish)
_SERVING = MadeOnce(_serve)


def _opened(home: Path, tracking: MemoryTracking, **settings: Any) -> Place:
    # Agents are given time, so that no stand-in answers for one because the machine is busy.
    chosen = load_settings(home=home, **{"agent_timeout_ms": 60_000.0, **settings})
    engine = make_engine(chosen.registry_url)
    datasets = DatasetStore(home / "data")
    return Place(
        chosen,
        engine,
        tracking,
        datasets,
        FakeGovernance(engine, tracking),
        ServingModel(engine, tracking, datasets, chosen),
    )


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords(quick_passwords: None) -> None:
    """Nearly every test here logs in."""


@pytest.fixture
def empty_place(tmp_path: Path) -> Iterator[Place]:
    """Nothing has been trained yet."""
    place = build_place(tmp_path)
    yield place
    place.serving.stop()
    place.engine.dispose()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Composition 1 (popularity) serves, composition 2 (routed) could."""
    tracking = MemoryTracking(tmp_path / "mlflow")
    known = _SERVING.copy_to(tmp_path)
    for name in ("experiments", "runs", "models"):
        setattr(tracking, name, deepcopy(getattr(known, name)))
    place = _opened(tmp_path, tracking)
    place.serving.refresh()
    yield place
    place.serving.stop()
    place.engine.dispose()
