"""The data of a cycle are checked once for a snapshot and split, and refused when they leak."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.evolution.conftest import World
from tests.evolution.searching import watched

from agenticrs.evolution.cycle_report.contents import report_of
from agenticrs.evolution.cycle_report.text import markdown
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry import cycles, trials


class Leaking:
    """A store whose users have a feature that names the item that is held out."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def load(self, *which: str) -> Dataset:
        dataset: Dataset = self._store.load(*which)
        heldout = make_fold(dataset, "leave_one_out", "valid").heldout
        hidden = np.random.default_rng(0).permutation(dataset.n_items + 1)
        mood = np.zeros(dataset.n_users, np.int32)
        mood[heldout.user] = hidden[heldout.item + 1]
        features = replace(
            dataset.user_features,
            categorical={**dataset.user_features.categorical, "mood": mood},
            cardinality={**dataset.user_features.cardinality, "mood": dataset.n_items + 1},
        )
        return replace(dataset, user_features=features)


def asked(ran: list[str]) -> list[str]:
    return [key for key in ran if key.endswith("/fold/health")]


def sensed(world: World, cycle_id: int) -> dict[str, Any]:
    with session_scope(world.services.engine) as session:
        (step,) = [one for one in cycles.steps(session, cycle_id) if one.name == "sense"]
        return dict(step.result)


def test_data_in_which_a_feature_names_what_is_held_out_are_refused(world: World) -> None:
    leaking = World(replace(world.services, datasets=Leaking(world.services.datasets)))  # type: ignore[arg-type]
    with pytest.raises(EvolutionError, match="user feature 'mood' tells which item") as refused:
        leaking.controller().evolve()
    assert "no feature is the label" in refused.value.message
    assert "the log without it under another name" in refused.value.hint
    with session_scope(world.services.engine) as session:
        (row,) = cycles.list_all(session)
        assert row.state == "failed"
        assert "'mood'" in row.error
        assert not trials.of_cycle(session, row.id or 0), "nothing was paid for"
    found = sensed(world, row.id or 0)["fold"]
    assert [one["name"] for one in found["checks"] if not one["passed"]] == [
        "no feature is the label"
    ]
    assert "'mood'" in markdown(report_of(world.services.engine, row.id or 0))
    with pytest.raises(EvolutionError, match="'mood'"):
        leaking.controller().evolve()


def test_a_snapshot_is_checked_once_for_a_split(world: World) -> None:
    ran: list[str] = []
    seen = watched(world, ran)
    first, second, third = seen.controller().evolve()
    assert asked(ran) == [f"cycle-{first}/fold/health"]
    found = sensed(world, third)["fold"]
    assert found == sensed(world, first)["fold"]
    assert found["passed"]
    assert len(found["checks"]) == 6
    told = markdown(report_of(world.services.engine, first))
    assert "6 passed, " in told
    assert f"6 passed, in cycle {first}" in markdown(report_of(world.services.engine, second))
    ran.clear()
    split = seen.with_settings(split="random:seed=1")
    (other,) = split.controller().evolve(("individual",), agents=("itemknn",))
    assert asked(ran) == [f"cycle-{other}/fold/health"], "other rows are held out"
    ran.clear()
    raw = generate(GeneratorConfig(n_users=300, n_items=100, seed=5)).raw
    world.services.datasets.save("generated", raw)
    (newer,) = seen.controller().evolve(("individual",), agents=("itemknn",))
    assert asked(ran) == [f"cycle-{newer}/fold/health"], "other data"


def test_data_that_could_not_be_checked_are_refused(world: World) -> None:
    broken = watched(world, [], loses="/fold/health")
    with pytest.raises(EvolutionError, match="killed after its time limit"):
        broken.controller().evolve()
    assert world.controller().evolve(("bootstrap",)), "and asked again by the next cycle"
