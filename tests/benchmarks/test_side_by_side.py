"""Both sides in turn: what is compared, and how an epoch is cut short."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.windows import cut
from agenticrs.agents.training_loop import TrainingLoop

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


class Recorded:
    """A peer that answers what was recorded."""

    def __init__(self, *answers: dict[str, float]) -> None:
        self._answers = itertools.cycle(answers)

    def once(self) -> dict[str, float]:
        """The next answer."""
        return next(self._answers)


def test_the_ratio_is_that_of_the_medians(script: Any) -> None:
    peer = Recorded({"seconds": 6.0}, {"seconds": 8.0}, {"seconds": 100.0})
    row = script("sidebyside").pairs(lambda: {"seconds": 2.0}, peer, 3)
    assert (row["ours_seconds"], row["peer_seconds"], row["ratio"]) == (2.0, 8.0, 4.0)
    assert "cpu_ratio" not in row


def test_processor_time_is_compared_where_both_sides_tell_it(script: Any) -> None:
    peer = Recorded({"seconds": 8.0, "cpu_seconds": 6.0, "loss": 0.5})
    row = script("sidebyside").pairs(lambda: {"seconds": 2.0, "cpu_seconds": 0.5}, peer, 1)
    assert (row["ratio"], row["cpu_ratio"]) == (4.0, 12.0)
    assert row["peer"] == {"loss": 0.5}


def test_a_repository_that_is_there_is_not_cloned(script: Any, tmp_path: Path) -> None:
    assert script("sidebyside").checkout("no://where", tmp_path) == tmp_path


def test_a_repository_that_cannot_be_had_is_told_about(script: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="cannot be cloned, put it into"):
        script("sidebyside").checkout("no://where", tmp_path / "missing")


def test_an_epoch_ends_after_the_first_steps_and_its_length_is_known(script: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    users = UserBatch(torch.arange(9), torch.arange(10) * 5, torch.arange(45))
    with script("training").first_steps(2) as planned:
        positives = list(TrainingLoop.batches(45, 10, generator))
        windows = list(cut(users, 4, generator).batches(users, 2, generator))
    assert (len(positives), len(windows)) == (2, 2)
    assert planned == [5, 5]
    assert len(list(TrainingLoop.batches(45, 10, generator))) == 5


def test_every_task_names_a_script_and_a_config_that_is_valid(script: Any) -> None:
    from agenticrs.agents import catalogue

    for task in script("training_tasks").TASKS.values():
        assert (BENCHMARKS / "peers" / task.script).is_file()
        catalogue.build(task.agent, dict(task.config))
