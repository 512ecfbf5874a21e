"""Agents of other packages are examined in the cascade itself, before they are trained in full."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from tests.agents.health import planted_conduct, planted_learning
from tests.agents.health.plain import Plain
from tests.evolution.conftest import World, build
from tests.evolution.opened import opened
from tests.evolution.searching import Told, admit, watched
from torch import Tensor

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.fusion.reciprocal_rank import ReciprocalRankFusion
from agenticrs.agents.reranking.mmr import Mmr
from agenticrs.agents.retrieval.bpr import BprMF
from agenticrs.agents.retrieval.itemknn import ItemKNN
from agenticrs.agents.retrieval.popularity import Popularity
from agenticrs.agents.routing.history_length import HistoryLengthRouter
from agenticrs.agents.trial import run_trial
from agenticrs.evolution.candidates import examination
from agenticrs.evolution.candidates.agent_search import AgentSearch
from agenticrs.evolution.candidates.examination import HEALTH
from agenticrs.evolution.cycle import Cycle
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.database import session_scope
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.platform.jobs.job import Failed, Job, Outcome
from agenticrs.platform.settings import load_settings
from agenticrs.registry import cycles, proposals, trials, versions
from agenticrs.registry.tables import TrialRow

SMALL = {"embedding_size": 16, "batch_size": 64}
DEFECTS = planted_learning.defects.rows + planted_conduct.defects.rows
HEALTHY = [Plain, Popularity, ItemKNN, BprMF, Mmr, ReciprocalRankFusion, HistoryLengthRouter]


class Peeking(Popularity):
    """Reads the held-out rows of whoever called it, and puts them first."""

    spec: ClassVar = Popularity.spec.model_copy(update={"name": "peeking"})

    def score(self, users: UserBatch) -> Tensor:
        scores, frame = super().score(users), sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            fold = frame.f_locals.get("fold")
            if isinstance(fold, Fold):
                place = {int(user): row for row, user in enumerate(users.users)}
                for user, item in zip(fold.heldout.user, fold.heldout.item, strict=True):
                    if int(user) in place and int(item) < scores.shape[1]:
                        scores[place[int(user)], int(item)] = 1e6
                break
        return scores


class Honest(Popularity):
    """Popularity out of another package."""

    spec: ClassVar = Popularity.spec.model_copy(update={"name": "honest"})


class Untrained(InlineRunner):
    """Runs health checks and no training; notes who was about to be trained."""

    def __init__(self, trained: list[str]) -> None:
        super().__init__()
        self.trained = trained

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in jobs:
            if job.function is run_trial:
                self.trained.append(job.key.split("/")[1])
                yield Failed(job.key, "error", "nothing is trained here", seconds=0.0)
            else:
                yield from super().run([job])


def install(patch: pytest.MonkeyPatch, agent: type[Agent[Any]]) -> type[Agent[Any]]:
    """As its entry point would."""
    found, name = catalogue.installed(), agent.spec.name
    patch.setitem(found.agents, name, agent)
    patch.setitem(found.sources, name, f"{agent.__module__}:{agent.__name__}")
    return agent


def renamed(agent: type[Agent[Any]]) -> type[Agent[Any]]:
    """The same agent, of this package and with a name of its own."""
    name = "_".join(re.findall("[A-Z]+[a-z]*", agent.__name__)).lower()
    return type(
        agent.__name__,
        (agent,),
        {"spec": agent.spec.model_copy(update={"name": name}), "__module__": __name__},
    )


def searched(cycle: Cycle, agent: type[Agent[Any]], points: Sequence[Any]) -> list[TrialRow]:
    AgentSearch(cycle, agent.spec, agent, Told(points), trials=len(points)).run()
    with session_scope(cycle.services.engine) as session:
        return list(trials.of_cycle(session, cycle.id, agent.spec.name))


def health_jobs(ran: Sequence[str]) -> list[str]:
    return [key.split("/", 1)[1] for key in ran if key.endswith("/health") and "/fold/" not in key]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cycle, list[str]]]:
    """An open cycle that trains nobody, and who was about to be trained in it."""
    home, trained = tmp_path_factory.mktemp("bench"), list[str]()
    world = build(home, load_settings(home=home, simulated_users=0))
    quiet = World(replace(world.services, open_runner=lambda: Untrained(trained)))
    with opened(quiet, trials=1, agents=("popularity",)) as cycle:
        yield cycle, trained


def on_the_bench(
    bench: tuple[Cycle, list[str]], patch: pytest.MonkeyPatch, agent: type[Agent[Any]]
) -> tuple[TrialRow, bool]:
    """Its one trial, and whether it was about to be trained."""
    (cycle, trained), agent = bench, install(patch, renamed(agent))
    fields = agent.config_type.model_fields
    point = {name: value for name, value in SMALL.items() if name in fields}
    (row,) = searched(cycle, agent, [point])
    return row, agent.spec.name in trained


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "check"), [row[:2] for row in DEFECTS], ids=[row[0].__name__ for row in DEFECTS]
)
def test_a_planted_defect_is_refused_before_it_is_trained(
    bench: tuple[Cycle, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    agent: type[Agent[Any]],
    check: str,
) -> None:
    row, trained = on_the_bench(bench, monkeypatch, agent)
    assert not trained
    assert row.state == "failed"
    assert row.error.startswith("health")
    assert check in row.error


@pytest.mark.parametrize("agent", HEALTHY, ids=lambda one: one.__name__)
def test_a_healthy_agent_of_another_package_is_trained(
    bench: tuple[Cycle, list[str]], monkeypatch: pytest.MonkeyPatch, agent: type[Agent[Any]]
) -> None:
    row, trained = on_the_bench(bench, monkeypatch, agent)
    assert trained, row.error
    assert row.note[HEALTH]["passed"]


def test_a_plugin_that_reads_the_held_out_rows_never_becomes_a_version(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for agent in (Peeking, Honest):
        install(monkeypatch, agent)
    admit(world, "peeking", "honest")
    began = world.controller().evolve()
    with session_scope(world.services.engine) as session:
        rows = [row for one in began for row in trials.of_cycle(session, one, "peeking")]
        kinds = {cycles.get(session, row.cycle_id).kind for row in rows}
        assert kinds == {"bootstrap", "individual"}
        for row in rows:
            assert row.state == "failed"
            assert row.error.startswith("health: held-out rows are hidden: it puts")
        assert not list(versions.of_agent(session, "home", "peeking"))
        assert list(versions.of_agent(session, "home", "honest"))
        for waiting in proposals.list_all(session, "home", "waiting"):
            assert "peeking" not in waiting.title


def test_who_has_passed_is_asked_again_only_for_other_code_or_data(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Honest)
    ran: list[str] = []
    points = [{"half_life_days": days} for days in (3.0, 9.0)]

    def asked() -> list[str]:
        ran.clear()
        with opened(watched(world, ran), trials=2, agents=("popularity",)) as cycle:
            assert {row.state for row in searched(cycle, Honest, points)} == {"done"}
        return health_jobs(ran)

    assert asked() == ["honest/0/health"], "once for both candidates"
    assert asked() == [], "a later cycle knows it from the trials"
    with monkeypatch.context() as patch:
        patch.setattr(examination, "code_of", lambda implementation: "changed")
        assert asked() == ["honest/0/health"]
        patch.setattr(examination, "code_of", lambda implementation: None)
        assert asked() == ["honest/0/health", "honest/1/health"], "code that nobody can see"


def test_who_failed_once_is_asked_every_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Now(Peeking):
        """Peeks where its half-life is short."""

        spec: ClassVar = Popularity.spec.model_copy(update={"name": "now"})

        def score(self, users: UserBatch) -> Tensor:
            peeks = self.config.half_life_days is not None and self.config.half_life_days < 5
            return super().score(users) if peeks else super(Peeking, self).score(users)

    install(monkeypatch, Now)
    ran: list[str] = []
    points = [{"half_life_days": days} for days in (3.0, 9.0, 4.0)]
    with opened(watched(world, ran), trials=3, agents=("popularity",)) as cycle:
        rows = searched(cycle, Now, points)
    assert [row.state for row in rows] == ["failed", "done", "failed"]
    assert health_jobs(ran) == [f"now/{number}/health" for number in range(3)]


def test_our_own_agents_are_examined_by_the_tests_alone(world: World) -> None:
    ran: list[str] = []
    with opened(watched(world, ran), trials=1, agents=("popularity",)) as cycle:
        (row,) = searched(cycle, Popularity, [{}])
    assert row.state == "done"
    assert HEALTH not in row.note
    assert not health_jobs(ran)
