"""Nothing is trained twice: whose result is taken, whose is not, and that nothing else changes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from tests.evolution.opened import opened
from tests.evolution.searching import admit, search, watched
from tests.evolution.test_sensing import more_of_the_same

from agenticrs.agents import catalogue
from agenticrs.agents.trial import CandidateArrays, TrialRequest, run_trial
from agenticrs.evolution.candidates import evaluation_cache, trial_files
from agenticrs.evolution.candidates.evaluation_cache import Evaluations, place_of
from agenticrs.evolution.candidates.rungs import seed_counts
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, trials
from agenticrs.registry.tables import TrialRow

if TYPE_CHECKING:
    from tests.evolution.conftest import MakeWorld, World

EASE: list[dict[str, Any]] = [{"l2": 50.0}, {"l2": 200.0}]
BPR: list[dict[str, Any]] = [
    {"epochs": 20, "embedding_size": size, "learning_rate": 0.4} for size in (8, 32, 4)
]


def tried(world: World, agent: str, points: Sequence[Any], ran: list[str]) -> list[TrialRow]:
    """The rows of a new cycle that tries these points; ``ran`` says which trainings it paid for."""
    jobs: list[str] = []
    with opened(watched(world, jobs), trials=len(points), agents=(agent,)) as cycle:
        rows = search(cycle, agent, points)
    ran[:] = [key.split("/", 1)[1] for key in jobs if not key.endswith("place")]
    return rows


def found(rows: Sequence[TrialRow]) -> list[Any]:
    return [(r.number, r.state, r.reward, r.metrics, r.config, r.device) for r in rows]


def folder(world: World, row: TrialRow) -> Path:
    home = world.services.settings.home
    return home / "cycles" / str(row.cycle_id) / row.agent / str(row.number)


def change(world: World, row: TrialRow, **fields: Any) -> None:
    with session_scope(world.services.engine) as session:
        stored = trials.get(session, row.id or 0)
        for name, value in fields.items():
            setattr(stored, name, value)
        session.add(stored)


def test_what_an_earlier_cycle_paid_for_is_not_trained_again(world: World) -> None:
    ran: list[str] = []
    first = tried(world, "ease", EASE, ran)
    assert ran == ["ease/0/full", "ease/1/full"]
    second = tried(world, "ease", EASE, ran)
    assert ran == []
    assert found(second) == found(first)
    assert [row.note["cached_from"] for row in second] == [row.id for row in first]
    assert [row.seconds for row in second] == [0.0, 0.0]
    assert all("cached_from" not in row.note for row in first)
    assert all(row.code_version and row.finished_at for row in second)


def test_a_second_surface_on_the_same_data_takes_the_first_trainings_of_the_first(
    world: World,
) -> None:
    world.controller().evolve(("bootstrap",))
    ran: list[str] = []
    other = watched(world.with_settings(surface="other"), ran)
    (second,) = other.controller().evolve(("bootstrap",))
    with session_scope(world.services.engine) as session:
        rows = list(trials.of_cycle(session, second))
    assert not [key for key in ran if key.endswith("/full")]
    assert all("cached_from" in row.note for row in rows)
    assert {row.state for row in rows} == {"done"}


def test_the_same_point_within_a_cycle_is_trained_once(world: World) -> None:
    ran: list[str] = []
    rows = tried(world, "ease", [EASE[0], EASE[1], EASE[0]], ran)
    assert ran == ["ease/0/full", "ease/1/full"]
    assert rows[2].note["cached_from"] == rows[0].id
    assert rows[2].reward == rows[0].reward


def test_a_cycle_that_was_removed_takes_nothing_from_a_later_one(world: World) -> None:
    ran: list[str] = []
    (first,) = tried(world, "ease", EASE[:1], ran)
    (second,) = tried(world, "ease", EASE[:1], ran)
    kept = trial_files.read(folder(world, first))
    shutil.rmtree(folder(world, first).parents[1])
    files = trial_files.read(folder(world, second))
    assert files.artifacts == kept.artifacts
    np.testing.assert_array_equal(files.per_user["ndcg@10"], kept.per_user["ndcg@10"])
    tried(world, "ease", EASE[:1], ran)
    assert ran == [], "the second one's files are as good"


@pytest.mark.parametrize("name", [trial_files.REWARDS, trial_files.SUMS, "agent.json", ""])
@pytest.mark.parametrize("gone", [True, False])
def test_files_that_are_gone_or_changed_are_not_taken(world: World, name: str, gone: bool) -> None:
    ran: list[str] = []
    (first,) = tried(world, "ease", EASE[:1], ran)
    where = folder(world, first)
    if not name:
        name = next(p.name for p in where.iterdir() if p.suffix == ".safetensors")
    assert (where / name).exists()
    content = bytearray((where / name).read_bytes())
    (where / name).unlink()
    if not gone:
        content[len(content) // 2] ^= 1
        (where / name).write_bytes(content)
    (second,) = tried(world, "ease", EASE[:1], ran)
    assert ran == ["ease/0/full"]
    assert "cached_from" not in second.note
    assert second.reward == first.reward
    assert not list(folder(world, second).parent.glob(".writing-*")), "nothing is left aside"


def test_a_trial_that_failed_or_was_cut_short_is_tried_again(world: World) -> None:
    ran: list[str] = []
    first, second = tried(world, "ease", EASE, ran)
    change(world, first, state="failed", error="full rung, lost: the worker died")
    change(world, second, metrics={**second.metrics, "trained_share": 0.8})
    tried(world, "ease", EASE, ran)
    assert ran == ["ease/0/full", "ease/1/full"]


def test_other_code_data_or_device_is_another_content(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    (first,) = tried(world, "ease", EASE[:1], ran)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation_cache, "code_of", lambda implementation: "changed")
        tried(world, "ease", EASE[:1], ran)
        assert ran == ["ease/0/full"]
        patch.setattr(evaluation_cache, "code_of", lambda implementation: None)
        for _ in range(2):
            tried(world, "ease", EASE[:1], ran)
            assert ran == ["ease/0/full"], "code that nobody can see is never the same"
    change(world, first, device="cuda")
    tried(world, "ease", EASE[:1], ran)
    assert ran == ["ease/0/full"]
    other = generate(GeneratorConfig(n_users=300, n_items=100, seed=5)).raw
    world.services.datasets.save("generated", other)
    tried(world, "ease", EASE[:1], ran)
    assert ran == ["ease/0/full"]


def test_all_rungs_of_an_agent_that_draws_are_taken_with_the_same_seed(world: World) -> None:
    admit(world, "bpr")
    ran: list[str] = []
    first = tried(world, "bpr", BPR, ran)
    states = [row.state for row in first]
    assert "pruned" in states
    assert "done" in states
    paid = len(ran)
    assert paid == sum(len(row.note[trials.RUNGS]) for row in first) + states.count("done")
    second = tried(world, "bpr", BPR, ran)
    assert ran == []
    assert found(second) == found(first)
    assert [row.note["cached_from"] for row in second] == [row.id for row in first]
    # The same points under other numbers have other seeds.
    tried(world, "bpr", BPR[::-1], ran)
    assert "bpr/0/rung-1" in ran
    assert "bpr/1/rung-1" not in ran, "the one in the middle has kept its number"


def test_a_short_rung_alone_is_taken_where_the_full_one_is_missing(world: World) -> None:
    admit(world, "bpr")
    ran: list[str] = []
    (first,) = tried(world, "bpr", BPR[:1], ran)
    change(world, first, state="pruned")
    (second,) = tried(world, "bpr", BPR[:1], ran)
    assert ran == ["bpr/0/full"]
    assert second.note["rung_cached_from"] == first.id
    assert second.seconds > 0
    assert second.reward == first.reward


def test_other_candidates_from_above_are_another_content() -> None:
    items = np.arange(12, dtype=np.int32).reshape(3, 4)
    given = CandidateArrays(items, np.ones((3, 4), np.float32), "rrf")
    other = CandidateArrays(items[:, ::-1].copy(), given.scores, "rrf")
    renamed = CandidateArrays(items, given.scores, "score_fusion")
    digests = [place_of(inputs).inputs for inputs in ((), [given], [other], [renamed])]
    assert digests[0] == ""
    assert len(set(digests)) == 4
    assert place_of([given]) == place_of([given])


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> Any:
    store = DatasetStore(tmp_path_factory.mktemp("data"))
    made = generate(GeneratorConfig(n_users=150, n_items=60)).raw
    return make_fold(store.save("generated", made), "leave_one_out", "valid")


SEEDLESS = sorted(n for n, a in catalogue.load_agents().items() if not seed_counts(a))


@pytest.mark.parametrize("agent", SEEDLESS)
def test_an_agent_whose_seed_does_not_count_finds_the_same_with_any(agent: str, fold: Any) -> None:
    spec = catalogue.load_agents()[agent].spec
    rng, users = np.random.default_rng(0), len(fold.users)

    def lists(name: str) -> CandidateArrays:
        items = np.stack([rng.permutation(60)[:30] for _ in range(users)]).astype(np.int32)
        scores = -np.sort(-rng.random((users, 30)).astype(np.float32), axis=1)
        return CandidateArrays(items, scores, name)

    count = {"retrieval": 0, "fusion": 2, "routing": len(spec.segments)}.get(spec.role, 1)
    inputs = [lists(name) for name in ("ease", "itemknn", "popularity", "slim")[:count]]
    config = catalogue.load_agents()[agent].config_type().model_dump(mode="json")
    one, other = (
        run_trial(fold, TrialRequest(agent, config, seed=seed), inputs) for seed in (0, 77)
    )
    assert one.artifacts is not None
    assert other.artifacts is not None
    weights, same = (
        load(files["weights.safetensors"]) for files in (one.artifacts, other.artifacts)
    )
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    for metric, values in one.per_user.items():
        np.testing.assert_array_equal(values, other.per_user[metric])


def outcome(world: World) -> list[Any]:
    with session_scope(world.services.engine) as session:
        done = sorted(cycles.list_all(session), key=lambda c: c.id or 0)
        rows = [t for c in done for t in trials.of_cycle(session, c.id or 0)]
        verdicts = [
            step.result["verdicts"]
            for c in done
            for step in cycles.steps(session, c.id or 0)
            if step.name == "select" and "verdicts" in step.result
        ]
    for verdict in (one for several in verdicts for one in several):
        del verdict["seconds"]
        verdict["guardrails"] = [r for r in verdict["guardrails"] if "latency" not in r["name"]]
    return [[(t.cycle_id, t.agent, t.seed, *found([t])) for t in rows], verdicts]


def three_cycles(world: World) -> None:
    """One on a snapshot, two on the next: what was best on the first is tried first in both."""
    names = ("ease", "mmr")
    world.controller().evolve(("individual",), agents=names)
    datasets = world.services.datasets
    datasets.append_events("generated", more_of_the_same(datasets.load("generated"), shifted=False))
    for _ in range(2):
        world.controller().evolve(("individual",), agents=names)


def test_cycles_end_the_same_with_and_without_earlier_evaluations(
    tmp_path: Path, world: World, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "other"
    other = make_world(home, world.services.settings.model_copy(update={"home": home}))
    three_cycles(world)
    with monkeypatch.context() as patch:
        patch.setattr(Evaluations, "at_rung", lambda self, row, place: None)
        patch.setattr(Evaluations, "take_full", lambda self, row: False)
        three_cycles(other)
    assert outcome(world) == outcome(other)
    with session_scope(world.services.engine) as session:
        last = max(c.id or 0 for c in cycles.list_all(session))
        taken = {
            (row.agent, row.method)
            for row in trials.of_cycle(session, last)
            if "cached_from" in row.note
        }
    assert taken >= {("ease", "given"), ("mmr", "given")}
