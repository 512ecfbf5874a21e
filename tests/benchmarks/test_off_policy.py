"""Off-policy estimates on the small Open Bandit Dataset: the log of one tells of the other."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, real_data: Path) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    module = importlib.import_module("off_policy")
    monkeypatch.setattr(module, "DATA", real_data / "open-bandit-sample")
    if not module.DATA.is_dir():
        pytest.skip("the Open Bandit sample is not there")
    return module


def test_the_logs_hold_the_clicks_that_are_known_of_them(benchmark: Any) -> None:
    clicks = [
        int(benchmark.Log.read(policy, campaign).click.sum())
        for campaign in benchmark.CAMPAIGNS
        for policy in benchmark.POLICIES
    ]
    assert clicks == [46, 69, 46, 46]


@pytest.mark.parametrize("campaign", ["men", "women"])
@pytest.mark.parametrize("source", ["random", "bts"])
def test_what_the_other_policy_had_lies_within_the_error(
    benchmark: Any, campaign: str, source: str
) -> None:
    target = "bts" if source == "random" else "random"
    rows = benchmark.beside_the_truth(source, target, campaign, samples=20)
    assert [row["estimator"] for row in rows][0::2] == ["IPS", "SNIPS", "DR"]
    for row in rows:
        if row["estimator"] != "DM":  # it knows nothing of the model's error
            assert row["standard errors apart"] < 2.5, row["estimator"]


def test_heavy_weights_leave_little_of_a_log_and_a_limit_helps(benchmark: Any) -> None:
    rows = benchmark.beside_the_truth("bts", "random", "women", samples=20)
    found = {row["estimator"]: row for row in rows}
    assert found["IPS"]["effective"] < 5
    assert found["IPS"]["heaviest"] > 0.5
    assert found["IPS, weights to 10"]["effective"] > 1000


def test_where_the_truth_is_set_intervals_hold_it(benchmark: Any) -> None:
    rows = benchmark.drawn_anew("random", "bts", "men", 20)
    for row in rows:
        if row["estimator"] != "DM":
            assert abs(row["bias"]) < 4 * row["bias error"] + 0.01
            assert row["coverage"] >= 0.8


def test_shares_of_a_log_are_distributions(benchmark: Any) -> None:
    shares = benchmark.Log.read("bts", "men").shares()
    assert torch.allclose(shares.sum(1), torch.ones(3, dtype=torch.float64))
