"""Versions that MLflow alone has: adopted where a trial says what they are, else named."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from agenticrs.platform.database import session_scope
from agenticrs.platform.tracking.port import RunRecord
from agenticrs.registry import audit, compositions, orphans, trials, versions
from agenticrs.registry.graph import Graph

if TYPE_CHECKING:
    from tests.registry.conftest import Store


class Killed(BaseException):
    """Stands for kill -9."""


def die() -> None:
    raise Killed


def cut_off(store: Store) -> Any:
    """MLflow, at whose side a process dies as soon as a version is made."""
    return store.interrupted("register", after=True, do=die)


def numbers(store: Store, agent: str = "ease") -> list[int]:
    with session_scope(store.engine) as session:
        return sorted(row.number for row in versions.of_agent(session, "home", agent))


def look(store: Store) -> list[orphans.Orphan]:
    return orphans.look(store.engine, store.tracking, "home")


def adopt(store: Store) -> int:
    return orphans.adopt(store.engine, store.tracking, "home")


def test_a_version_that_was_not_written_down_is_adopted_from_its_trial(store: Store) -> None:
    store.version()
    trial = store.trial()
    with pytest.raises(Killed):
        store.register(trial, cut_off(store))
    assert (numbers(store), look(store)) == ([1], []), "it is nobody's fault yet"
    assert (adopt(store), adopt(store)) == (1, 0)
    with session_scope(store.engine) as session:
        row = versions.get(session, "home", "ease", 2)
        (entry,) = audit.entries(session, action="adopt version")
    assert (row.trial_id, row.config, row.seed, row.fingerprint) == (trial.id, {"l2": 10.0}, 7, "f")
    assert (entry.subject, entry.after["trial"]) == ("home.ease version 2", trial.id)
    assert store.register(trial).number == 2, "who goes on finds it"
    assert numbers(store) == [1, 2]


def test_what_somebody_made_in_mlflow_is_named_and_never_adopted(store: Store) -> None:
    run_id = store.tracking.log_run("by hand", RunRecord("mine", artifacts={"model/a": b"a"}))
    store.tracking.register("home.ease", run_id, "model", tags={}, description="")
    store.tracking.register("away.ease", run_id, "model", tags={}, description="")
    assert adopt(store) == 0
    (found,) = look(store)
    assert (found.model, found.number) == ("home.ease", 1)
    assert "somebody made it" in found.why


def test_a_second_version_of_the_same_run_is_named_with_the_first(store: Store) -> None:
    run_id = store.version().run_id
    store.tracking.models["home.ease"].versions[2] = store.tracking.models["home.ease"].versions[1]
    assert adopt(store) == 0
    assert [(one.number, "version 1" in one.why) for one in look(store)] == [(2, True)]
    assert store.tracking.versions("home.") == {"home.ease": {1: run_id, 2: run_id}}


def test_a_trial_of_an_earlier_registry_lends_its_number_to_nobody(store: Store) -> None:
    """A new registry beside an old MLflow counts its trials from one again."""
    store.trial()
    run_id = store.tracking.log_run("home.versions", RunRecord("old", artifacts={"model/a": b"a"}))
    store.tracking.register("home.ease", run_id, "model", tags={"trial": "1"}, description="")
    assert (adopt(store), len(look(store))) == (0, 1)


def test_a_trial_that_is_not_done_makes_no_version(store: Store) -> None:
    trial = store.trial(done=False)
    run_id = store.tracking.log_run("home.versions", RunRecord("x", artifacts={"model/a": b"a"}))
    store.tracking.register("home.ease", run_id, "model", tags={}, description="")
    with session_scope(store.engine) as session:
        trials.set_run(session, trial.id or 0, run_id)
    assert (adopt(store), numbers(store)) == (0, [])


def test_a_composition_that_was_not_written_down_is_named_until_it_is_made_again(
    store: Store, fused: Callable[..., Graph]
) -> None:
    store.version()
    store.version("rrf")

    def make(tracking: Any) -> int:
        return compositions.register(
            store.engine,
            tracking,
            surface="home",
            graph=fused(ease=1),
            dataset="shop",
            fingerprint="f",
            metrics={},
            parent=None,
        ).number

    with pytest.raises(Killed):
        make(cut_off(store))
    assert adopt(store) == 0
    (found,) = look(store)
    assert (found.model, found.number) == ("home.composition", 1)
    assert make(store.tracking) == 1
    assert look(store) == []
