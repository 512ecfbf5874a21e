"""Versions: out of finished trials only, once, with their origin, whatever is cut off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotFound, RegistryError, TrackingError
from agenticrs.platform.tracking.port import RunRecord
from agenticrs.registry import trials, versions
from agenticrs.registry.tables import TrialRow, VersionRow

if TYPE_CHECKING:
    from tests.registry.conftest import Store


class Killed(BaseException):
    """Stands for kill -9."""


def kill() -> None:
    raise Killed


def in_mlflow(store: Store, model: str = "home.ease") -> list[int]:
    known = store.tracking.models.get(model)
    return sorted(known.versions) if known else []


def in_registry(store: Store, agent: str = "ease", surface: str = "home") -> list[int]:
    with session_scope(store.engine) as session:
        return [row.number for row in versions.of_agent(session, surface, agent)]


def reread(store: Store, trial: TrialRow) -> TrialRow:
    with session_scope(store.engine) as session:
        return trials.get(session, trial.id or 0)


def test_a_version_says_where_it_comes_from(store: Store) -> None:
    trial = store.trial(config={"l2": 10.0, "weights": {"bpr": 0.5}})
    row = store.register(trial)
    assert (row.surface, row.agent, row.number, row.model) == ("home", "ease", 1, "home.ease")
    for name in ("config", "seed", "dataset", "fingerprint", "code_version", "environment"):
        assert getattr(row, name) == getattr(trial, name), name
    assert row.metrics == {"ndcg@10": 0.25, "coverage@10": 0.5}
    assert row.trial_id == trial.id
    assert reread(store, trial).run_id == row.run_id


def test_mlflow_shows_its_settings_rewards_and_files(store: Store) -> None:
    row = store.register(store.trial(config={"l2": 10.0, "weights": {"bpr": 0.5}}))
    run = store.tracking.runs[row.run_id]
    assert store.tracking.experiments["home.versions"] == [row.run_id]
    assert run.params["l2"] == 10.0
    assert run.params["weights.bpr"] == 0.5
    assert run.params["fingerprint"] == "f"
    assert run.metrics == {"ndcg_at_10": 0.25, "coverage_at_10": 0.5, "seconds": 2.0}
    folder = store.tracking.download("home.ease", row.number)
    assert (folder / "weights.safetensors").read_bytes() == b"weights"
    assert json.loads((folder / "spec.json").read_text())["name"] == "ease"
    assert json.loads((folder / "environment.json").read_text()) == row.environment
    described = json.loads((folder / "MLmodel").read_text())
    assert described["flavors"]["agenticrs"] == {"agent": "ease", "seed": 7}
    assert store.tracking.models["home.ease"].versions[1].tags["trial"] == str(row.trial_id)


def test_the_same_trial_twice_is_one_version(store: Store) -> None:
    trial = store.trial()
    assert store.register(trial) == store.register(trial)
    assert in_mlflow(store) == in_registry(store) == [1]
    assert len(store.tracking.runs) == 1


def test_each_agent_and_each_surface_counts_for_itself(store: Store) -> None:
    made = [store.version(), store.version(), store.version("itemknn")]
    elsewhere = store.version(surface="shop_window")
    assert [row.number for row in made] == [1, 2, 1]
    assert (elsewhere.number, elsewhere.model) == (1, "shop_window.ease")
    assert in_registry(store) == [2, 1]


@pytest.mark.parametrize("state", ["proposed", "short", "pruned", "failed"])
def test_what_was_not_fully_trained_becomes_no_version(store: Store, state: str) -> None:
    trial = store.trial(done=False)
    with session_scope(store.engine) as session:
        if state == "failed":
            trials.record_failed(session, trial.id or 0, error="diverged")
        elif state != "proposed":
            record = trials.record_short if state == "short" else trials.record_pruned
            record(session, trial.id or 0, metrics={}, reward=0.9, seconds=1.0, device="cpu")
    with pytest.raises(RegistryError, match=f"is {state}"):
        store.register(trial)
    assert store.tracking.runs == {}
    assert in_mlflow(store) == in_registry(store) == []


def test_a_trial_that_is_not_there_becomes_no_version(store: Store) -> None:
    with pytest.raises(NotFound, match="no trial 99"):
        store.register(TrialRow(id=99))  # type: ignore[call-arg]
    assert store.tracking.runs == {}


def test_a_trial_that_was_logged_without_files_is_logged_with_them(store: Store) -> None:
    trial = store.trial()
    first = store.tracking.log_run("home.trials", RunRecord("of a search"))
    with session_scope(store.engine) as session:
        trials.set_run(session, trial.id or 0, first)
    row = store.register(trial)
    assert row.run_id != first
    assert store.tracking.experiments["home.versions"] == [row.run_id]
    assert reread(store, trial).run_id == row.run_id
    assert in_mlflow(store) == in_registry(store) == [1]


@pytest.mark.parametrize(
    ("call", "after", "runs"),
    [
        ("log_run", False, 1),
        ("log_run", True, 2),  # its id was lost with the process: the run stays behind
        ("register", False, 1),
        ("register", True, 1),
    ],
)
def test_cut_off_anywhere_and_called_again_it_is_one_version(
    store: Store, call: str, after: bool, runs: int
) -> None:
    trial = store.trial()
    with pytest.raises(Killed):
        store.register(trial, store.interrupted(call, after=after, do=kill))
    assert in_registry(store) == [], "what was cut off is not known yet"
    row = store.register(trial)
    assert row.number == 1
    assert in_mlflow(store) == in_registry(store) == [1]
    assert len(store.tracking.runs) == runs
    assert store.tracking.models["home.ease"].versions[1].run_id == row.run_id
    assert reread(store, trial).run_id == row.run_id
    assert store.version().number == 2, "the next one leaves no gap"


def test_while_mlflow_is_away_nothing_is_written_and_later_it_works(store: Store) -> None:
    trial = store.trial()
    store.tracking.reachable = False
    with pytest.raises(TrackingError, match="reached"):
        store.register(trial)
    assert in_registry(store) == []
    store.tracking.reachable = True
    assert store.register(trial).number == 1


@pytest.mark.parametrize("call", ["log_run", "register"])
def test_whoever_comes_second_gets_the_version_of_the_first(store: Store, call: str) -> None:
    trial = store.trial()
    first: list[VersionRow] = []
    meanwhile = store.interrupted(call, after=False, do=lambda: first.append(store.register(trial)))
    second = store.register(trial, meanwhile)
    assert [second] == first
    assert in_registry(store) == [1]


def test_versions_are_found_by_number_and_listed_newest_first(store: Store) -> None:
    for agent in ("ease", "itemknn", "ease"):
        store.version(agent)
    with session_scope(store.engine) as session:
        listed = [(row.agent, row.number) for row in versions.of_agent(session, "home")]
        newest = versions.latest(session, "home", "ease")
        assert listed == [("ease", 2), ("itemknn", 1), ("ease", 1)]
        assert newest is not None
        assert newest.number == 2
        assert versions.get(session, "home", "ease", 1).number == 1
        assert versions.latest(session, "home", "rrf") is None
        assert versions.find(session, "home", "ease", 3) is None
        assert versions.find(session, "elsewhere", "ease", 1) is None
        with pytest.raises(NotFound, match="'ease' has no version 3 on 'home'") as missing:
            versions.get(session, "home", "ease", 3)
    assert missing.value.hint == "see `agenticrs versions ease`"
