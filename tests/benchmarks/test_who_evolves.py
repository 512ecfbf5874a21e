"""The comparison of turns in small: the same seconds for all, and the same answer twice."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("who_evolves")


def test_no_policy_may_spend_more_than_another(benchmark: Any) -> None:
    row = benchmark.compare("credit tells", "middle", 3)
    whole = benchmark.CYCLES * benchmark.BUDGETS["middle"]
    assert set(row["seconds"]) == set(benchmark.POLICIES)
    for seconds in row["seconds"].values():
        assert seconds == pytest.approx(whole, rel=0.05)
    assert row == benchmark.compare("credit tells", "middle", 3)


def test_measuring_that_is_paid_for_leaves_less_to_search_with(benchmark: Any) -> None:
    nature = benchmark.Nature.of("all alike", 0)
    free, spent = benchmark.evolve(nature, benchmark.in_rotation, 300.0, 0.0)
    paid, same = benchmark.evolve(nature, benchmark.in_rotation, 300.0, 0.9)
    assert paid < free
    assert same == pytest.approx(spent, rel=0.05)


def test_worlds_differ_in_what_credit_tells(benchmark: Any) -> None:
    tells, misleads = (benchmark.Nature.of(w, 1) for w in ("credit tells", "credit misleads"))
    assert tells.worth.tolist() == tells.credit.tolist()
    assert misleads.worth.tolist() != misleads.credit.tolist()
    assert sorted(misleads.worth) == sorted(misleads.credit)
    alike = benchmark.Nature.of("all alike", 1)
    assert alike.credit.tolist() == pytest.approx([1 / benchmark.AGENTS] * benchmark.AGENTS)
