"""Simulated canaries in small: planted faults are caught early, good versions reach everybody."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

RUNS = 8


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("canary")


@pytest.mark.parametrize(
    "version",
    [
        "10 % less watch time",
        "30 % more leaving, 5 % more watch time",
        "20 % slower, 5 % more watch time",
    ],
)
def test_a_planted_fault_goes_back_before_a_tenth_of_the_users_see_it(
    benchmark: Any, version: str
) -> None:
    found = benchmark.measure(version, RUNS)
    assert found["caught in time"]["count"] >= RUNS - 1
    assert found["promoted"]["count"] == 0


def test_a_good_version_reaches_everybody(benchmark: Any) -> None:
    found = benchmark.measure("5 % more watch time", RUNS)
    assert found["promoted"]["count"] >= RUNS - 2
    assert found["rolled back"]["count"] <= 1


def test_users_that_get_lost_stop_it_for_a_person(benchmark: Any) -> None:
    found = benchmark.measure("loses 20 % of its users' log", 4)
    assert found["paused"]["count"] == 4
    assert found["why"] == {"users are not shared as they should": 4}


def test_the_same_seed_gives_the_same_end(benchmark: Any) -> None:
    change = benchmark.SCENARIOS["10 % less watch time"]
    assert benchmark.run(change, 3) == benchmark.run(change, 3)


def test_shares_come_with_wilsons_interval(benchmark: Any) -> None:
    assert benchmark.share(95, 100) == {"count": 95, "low": 0.888, "high": 0.978}
