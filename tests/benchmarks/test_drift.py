"""The count of alarms in small: looks at logs with and without a shift, and what is told."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("drift")


def test_alarms_are_counted_by_world_and_by_how_much_is_new(benchmark: Any) -> None:
    found = [{("calm", "0.05"): p} for p in (0.004, 0.04, 0.5)]
    (told,) = benchmark.counts(found)["calm"].values()
    assert told == {"looks": 3, "alarms": {"0.01": 1, "0.05": 2, "0.1": 2}}


def test_every_world_is_looked_at(benchmark: Any) -> None:
    small = benchmark.PLATFORM.model_copy(update={"n_users": 250, "n_items": 100})
    calm, shifted = benchmark.calm(1, small), benchmark.shifted(1, small)
    assert len(calm) == 3 * len(benchmark.SHARES)
    assert len(shifted) == len(benchmark.SHIFTS) * len(benchmark.SINCE)
    assert all(0 < p <= 1 for p in (*calm.values(), *shifted.values()))
    assert min(shifted["one topic", f"{days} days"] for days in benchmark.SINCE) < 0.01


def test_users_arrive_all_the_time_in_a_growing_log(benchmark: Any) -> None:
    log = benchmark.log(benchmark.PLATFORM.model_copy(update={"n_users": 250, "n_items": 100}))
    rows, all_rows = benchmark.growing(log, 0).interactions, log.interactions
    half = np.median(all_rows.timestamp)
    late = [(one.timestamp >= half).mean() for one in (rows, all_rows)]
    assert late[0] > late[1] + 0.05
    assert len(rows) < len(all_rows)
