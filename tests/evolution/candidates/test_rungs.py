"""Candidates climb from rung to rung: one training, which pauses, goes on, or ends behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.evolution.conftest import World
from tests.evolution.opened import opened
from tests.evolution.searching import admit, search, watched

from agenticrs.agents import training_loop
from agenticrs.registry import trials

POINT = {"epochs": 8, "embedding_size": 8, "batch_size": 64}


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which epochs were trained, one after the other."""
    trained: list[int] = []
    whole = training_loop.TrainingLoop.__iter__

    def counting(loop: Any) -> Any:
        for epoch in whole(loop):
            trained.append(epoch)
            yield epoch

    monkeypatch.setattr(training_loop.TrainingLoop, "__iter__", counting)
    return trained


def paused(world: World) -> list[Path]:
    return list(world.services.settings.home.rglob("*.checkpoint"))


def test_no_epoch_is_trained_twice_on_the_way_up(world: World, epochs: list[int]) -> None:
    admit(world, "bpr")
    ran: list[str] = []
    with opened(watched(world, ran), trials=1, agents=("bpr",)) as cycle:
        (row,) = search(cycle, "bpr", [POINT])
    assert [key.rsplit("/", 1)[1] for key in ran if "place" not in key] == [
        "rung-1",
        "rung-2",
        "full",
    ]
    assert epochs == list(range(8))
    assert row.state == "done"
    assert len(row.note[trials.RUNGS]) == 2
    assert paused(world) == [], "who has ended leaves nothing behind"


def test_who_is_behind_at_a_rung_is_trained_no_further(world: World, epochs: list[int]) -> None:
    admit(world, "bpr")
    hopeless = {**POINT, "learning_rate": 1e-6}
    with opened(watched(world, []), trials=4, agents=("bpr",)) as cycle:
        rows = search(cycle, "bpr", [POINT, POINT | {"embedding_size": 12}, POINT, hopeless])
    assert [row.state for row in rows[:2]] == ["done", "done"]
    assert rows[3].state == "pruned"
    assert len(rows[3].note[trials.RUNGS]) == 1
    assert epochs[-2:] == [0, 1], "a quarter of eight"
    assert paused(world) == []


def test_a_killed_search_goes_on_from_the_rung_that_was_reached(
    world: World, epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(world, "bpr")

    class Killed(BaseException):
        pass

    with opened(watched(world, []), trials=1, agents=("bpr",)) as cycle:
        judged = trials.record_short

        def dying(*args: Any, **found: Any) -> None:
            judged(*args, **found)
            if len(epochs) == 4:
                raise Killed

        monkeypatch.setattr(trials, "record_short", dying)
        with pytest.raises(Killed):
            search(cycle, "bpr", [POINT])
        monkeypatch.setattr(trials, "record_short", judged)
        (row,) = search(cycle, "bpr", [POINT])
    assert row.state == "done"
    assert epochs == list(range(8)), "the row of the second rung was lost, its training was not"
    assert len(row.note[trials.RUNGS]) == 2
