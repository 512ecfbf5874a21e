"""A world that moves: it is noticed, and the graph changes before single agents do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from agenticrs.evolution import sensing
from agenticrs.evolution.drift import Drift, drift
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.raw import Event
from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, cycles, trials
from agenticrs.registry.admission import AdmissionReport

if TYPE_CHECKING:
    from .conftest import World

NEW = 400


def more_of_the_same(dataset: Dataset, *, shifted: bool) -> list[Event]:
    """Rows like those of the last fifth of the log; when shifted, of the ten rarest items alone."""
    log, rng = dataset.interactions, np.random.default_rng(0)
    order = np.argsort(log.timestamp, kind="stable")
    rows = order[-len(order) // 5 :][rng.permutation(len(order) // 5)[:NEW]]
    rare = np.argsort(np.bincount(log.item, minlength=dataset.n_items), kind="stable")[:10]
    items = rng.choice(rare, NEW) if shifted else log.item[rows]
    newest = int(log.timestamp.max())
    return [
        Event(
            str(dataset.user_ids[log.user[row]]),
            str(dataset.item_ids[item]),
            newest + 60 * (1 + place),
            {name: float(values[row]) for name, values in log.behaviours.items()},
        )
        for place, (row, item) in enumerate(zip(rows, items, strict=True))
    ]


def why(world: World, dataset: Dataset) -> str:
    """Why the graph should change first, after a look at these data."""
    services = world.services
    return sensing.restructure_first(services, "home", sensing.look_at(services, "home", dataset))


def kinds(world: World) -> list[str]:
    with session_scope(world.services.engine) as session:
        rows = sorted(cycles.list_all(session), key=lambda row: row.id or 0)
    return [row.kind for row in rows]


def test_the_graph_changes_first_when_the_world_has_moved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.controller().evolve(("individual",), agents=("ease",))
    datasets = world.services.datasets
    before = datasets.load("generated")
    moved = datasets.append_events("generated", more_of_the_same(before, shifted=True))
    assert "items" in why(world, moved)
    looks: list[Dataset] = []

    def noted(dataset: Dataset, known: int) -> Drift:
        looks.append(dataset)
        return drift(dataset, known)

    with monkeypatch.context() as patch:
        patch.setattr(sensing, "drift", noted)
        world.controller().evolve()
    assert kinds(world)[2:] == ["individual", "compositional", "individual"]
    assert [one.fingerprint for one in looks] == [moved.fingerprint] * len(looks)
    with session_scope(world.services.engine) as session:
        third = sorted(row.id or 0 for row in cycles.list_all(session))[2]
        tried = trials.of_cycle(session, third)
        assert all(row.number == 0 for row in tried), "each agent is trained anew, once"
        (step,) = [s for s in cycles.steps(session, third) if s.name == "sense"]
    assert step.result["drift"]["detected"]
    assert step.result["new_interactions"] == NEW


def test_new_rows_of_the_old_kind_change_nothing(world: World) -> None:
    world.controller().evolve(("individual",), agents=("ease",))
    datasets = world.services.datasets
    same = datasets.append_events(
        "generated", more_of_the_same(datasets.load("generated"), shifted=False)
    )
    assert why(world, same) == ""


def test_another_weight_of_the_outer_reward_changes_the_graph_first(world: World) -> None:
    world.controller().evolve(("compositional",))
    dataset = world.services.datasets.load("generated")
    assert why(world, dataset) == ""
    with session_scope(world.services.engine) as session:
        spec = agents.admitted(session)["rrf"].model_copy(update={"outer_weight": 0.9})
        agents.record(session, spec, AdmissionReport(checks=[], admitted=True), "changed")
    assert "weight" in why(world, dataset)
