"""The table of a cycle's trials: a result that was taken from another trial is shown as such."""

from __future__ import annotations

from typing import Any

from agenticrs.registry.tables import TrialRow
from agenticrs.ui.cli.evolution import _trial_rows


def trial(number: int, **given: Any) -> TrialRow:
    told = {"cycle_id": 2, "agent": "ease", "method": "tpe", "state": "done", "note": {}}
    return TrialRow(id=10 + number, number=number, **{**told, **given})


def test_who_was_trained_and_whose_result_was_taken_can_be_told_apart() -> None:
    rows = _trial_rows([trial(0, seconds=3.0), trial(1, note={"cached_from": 4})])
    assert [(row["seconds"], row["result_of_trial"]) for row in rows] == [(3.0, 10), (0.0, 4)]


def test_columns_that_say_nothing_are_left_out() -> None:
    (row,) = _trial_rows([trial(0)])
    assert "result_of_trial" not in row
    assert "gpu_seconds" not in row
    (row,) = _trial_rows([trial(0, gpu_seconds=2.5)])
    assert row["gpu_seconds"] == 2.5
