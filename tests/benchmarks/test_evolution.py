"""The comparison of searches in small: equal budgets, censored times, and what is remembered."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.store import DatasetStore


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("evolution")


class MadeUp:
    """Trainings that take as long as their epochs, and are best at a middle learning rate."""

    def __init__(self, step: Any) -> None:
        self._step, self.asked = step, list[tuple[int, bool]]()

    def __call__(self, values: Mapping[str, Any], seed: int, short: bool) -> Any:
        self.asked.append((seed, short))
        reward = -abs(math.log(values["learning_rate"] / 0.3))
        return self._step(values["epochs"] * (0.2 if short else 1.0), reward, reward)


def test_no_way_may_spend_more_than_tpe_alone(benchmark: Any) -> None:
    measure = MadeUp(benchmark.Step)
    row = benchmark.compare(1, measure, trials=8)
    budget = row["tpe"][-1].seconds
    assert set(row) == set(benchmark.WAYS)
    assert len(row["tpe"]) == 8
    assert all(0 < steps[-1].seconds <= budget for steps in row.values())
    assert any(step.reward is None for step in row["cascade"])
    assert all(step.reward is not None for step in row["random"])
    assert row == benchmark.compare(1, MadeUp(benchmark.Step), trials=8)
    assert {short for _, short in measure.asked} == {False, True}


def test_who_is_stopped_pays_for_the_short_rung_alone(benchmark: Any) -> None:
    class Worse:
        """A method whose candidates only get worse."""

        def ask(self, tried: Any, n: int) -> Any:
            from agenticrs.evolution.methods.method import Candidate

            rate = 0.3 * (1 + len(tried))
            return [Candidate({"learning_rate": rate, "epochs": 10}, "made up")]

    measure = MadeUp(benchmark.Step)
    steps = list(islice(benchmark.search(Worse(), measure, 0, short=True), 4))
    assert [step.seconds for step in steps] == pytest.approx([12.0, 24.0, 26.0, 28.0])
    assert [step.reward is None for step in steps] == [False, False, True, True]


def test_a_reward_that_is_never_reached_takes_forever(benchmark: Any) -> None:
    step = benchmark.Step
    row = {
        "tpe": [step(1.0, 0.1, 0.1), step(3.0, 0.3, 0.2), step(4.0, 0.2, 0.2)],
        "quick": [step(0.5, None, None), step(1.0, 0.35, 0.3)],
        "never": [step(4.0, 0.29, 0.3)],
    }
    assert benchmark.best(row["tpe"]).seconds == 3.0
    assert benchmark.shares(row) == {"tpe": 0.75, "quick": 0.25, "never": math.inf}
    middle, low, high = benchmark.median_interval([0.25, 0.5, math.inf])
    assert (middle, low, high) == (0.5, 0.25, math.inf)
    assert benchmark.median_interval([0.25, math.inf])[0] == math.inf


def test_the_newest_of_each_user_are_kept(benchmark: Any, tmp_path: Path) -> None:
    raw = generate(GeneratorConfig(n_users=40, n_items=60)).raw
    dataset = DatasetStore(tmp_path).save("data", raw, keep_good=True)
    rows, kept = dataset.interactions, benchmark.newest(dataset, 3).interactions
    for user in range(dataset.n_users):
        items = rows.item[rows.user == user].tolist()
        assert kept.item[kept.user == user].tolist() == items[-3:]
