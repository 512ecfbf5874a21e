"""The comparison of searches in small: equal budgets, censored times, and what is remembered."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evolution.proposer.situation import CONVOLUTION, POOLED, RECURRENT, structure
from tests.llm_server import answer, endpoint

from agenticrs.evolution.methods.method import Candidate, Tried
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.errors import SettingsError


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("evolution")


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("evolution_report")


class MadeUp:
    """Trainings that take as long as their epochs, and are best at a middle learning rate."""

    def __init__(self, step: Any, fold: Fold) -> None:
        self._step, self.fold, self.asked = step, fold, list[tuple[int, float]]()

    def __call__(
        self, values: Mapping[str, Any], seed: int, effort: float = 1.0, after: float = 0.0
    ) -> Any:
        self.asked.append((seed, effort))
        reward = -abs(math.log(values.get("learning_rate", 1e-3) / 3e-3))
        return self._step(values.get("epochs", 5) * (effort - after), reward, reward)


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> Fold:
    raw = generate(GeneratorConfig(n_users=40, n_items=60)).raw
    dataset = DatasetStore(tmp_path_factory.mktemp("store")).save("data", raw, keep_good=True)
    return make_fold(dataset, "leave_one_out", "valid")


def test_no_way_may_spend_more_than_tpe_alone(benchmark: Any, fold: Fold) -> None:
    without = [way for way in benchmark.WAYS if way != "llm"]

    def compare() -> tuple[Any, Any]:
        found: tuple[Any, Any] = benchmark.compare(
            1, MadeUp(benchmark.Step, fold), [MadeUp(benchmark.Step, fold)], without, trials=8
        )
        return found

    row, earlier = compare()
    budget = row["tpe"][-1].seconds
    assert set(row) == set(benchmark.WAYS) - {"llm"}
    assert len(row["tpe"]) == 8
    assert set(earlier) == {"ours", "longer", "policy", "proposer"}
    assert all(seconds > 0 for seconds in earlier.values())
    assert all(0 < steps[-1].seconds <= budget for steps in row.values())
    assert any(step.reward is None for step in row["ours"])
    assert all(step.reward is not None for step in row["random"])
    assert [row[way][0].origin for way in earlier] == ["given"] * 4
    assert row == compare()[0]


def test_an_endpoint_of_the_environment_drafts_structures(
    benchmark: Any, fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    with endpoint() as server:
        monkeypatch.setenv("AGENTICRS_LLM_MODELS", "small")
        monkeypatch.setenv("AGENTICRS_LLM_PRICES", "small=1/4")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
        server.script(*(answer(structure(made)) for made in (RECURRENT, CONVOLUTION, POOLED) * 2))
        drafts = benchmark.Drafts()
        steps = MadeUp(benchmark.Step, fold)
        found, _ = benchmark.compare(
            0, steps, [steps], ways=("tpe", "llm"), trials=40, drafts=drafts
        )
    origins = [step.origin for step in found["llm"]]
    assert origins[0] == "given"
    assert {"tpe", "llm:small"} <= set(origins)
    assert drafts.spent.calls == len(server.asked) > 0
    assert drafts.spent.money == pytest.approx(0.0018 * min(6, drafts.spent.calls))


def test_without_an_endpoint_no_drafts_are_asked_for(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENTICRS_LLM_MODELS", raising=False)
    with pytest.raises(SettingsError, match="names no language model"):
        benchmark.Drafts()


def test_who_is_stopped_pays_up_to_its_rung_alone(benchmark: Any, fold: Fold) -> None:
    class Worse:
        """A method whose candidates only get worse; the first of them was given."""

        def ask(self, tried: Any, n: int) -> Any:
            rate = 3e-3 * (1 + len(tried))
            origin = "made up" if tried else "given"
            return [Candidate({"learning_rate": rate, "epochs": 10}, origin)]

    tried: list[Tried] = []
    measure = MadeUp(benchmark.Step, fold)
    steps = list(islice(benchmark.search(Worse(), measure, 0, tried), 5))
    assert [step.seconds for step in steps] == pytest.approx([10.0, 20.0, 30.0, 32.5, 35.0])
    assert [step.reward is None for step in steps] == [False, False, False, True, True]
    assert [one.state for one in tried] == ["done", "done", "done", "pruned", "pruned"]


def test_earlier_cycles_see_nothing_of_what_came_after_them(benchmark: Any, tmp_path: Path) -> None:
    raw = generate(GeneratorConfig(n_users=40, n_items=60)).raw
    dataset = DatasetStore(tmp_path).save("data", raw, keep_good=True)
    rows = dataset.interactions
    now, before = (benchmark.part(dataset, users=25, without=n).interactions for n in (0, 3))
    assert 15 < len(np.unique(now.user)) <= 25
    for user in np.unique(now.user):
        items = rows.item[rows.user == user].tolist()
        assert now.item[now.user == user].tolist() == items[-benchmark.NEWEST :]
        assert before.item[before.user == user].tolist() == items[:-3][-benchmark.NEWEST :]


def test_the_incumbent_is_chosen_by_users_that_do_not_judge_it(report: Any) -> None:
    steps = [
        {"seconds": 1.0, "reward": 0.1, "confirm": 0.2},
        {"seconds": 2.0, "reward": None, "confirm": None},
        {"seconds": 3.0, "reward": 0.3, "confirm": 0.1},
        {"seconds": 4.0, "reward": 0.2, "confirm": 0.9},
    ]
    moments = [0.5, 1.0, 2.5, 3.0, 9.0]
    assert report.incumbents(steps, moments, "confirm").tolist() == [0.0, 0.2, 0.2, 0.1, 0.1]
    assert report.seconds_to(steps, 0.3) == 3.0
    assert report.seconds_to(steps, 0.31) == math.inf


def test_a_curve_has_reached_a_goal_when_it_stays_there(report: Any) -> None:
    mean = np.full(len(report.GRID), 0.2)
    mean[:10], mean[15] = 0.1, 0.1
    assert report.reached(mean, 0.2) == pytest.approx(float(report.GRID[16]))
    assert report.reached(mean, 0.3) == math.inf
    assert report.median_interval([0.25, 0.5, math.inf]) == (0.5, 0.25, math.inf)
    assert report.median_interval([0.25, math.inf])[0] == math.inf


def test_table_and_picture_tell_who_is_ahead(report: Any, tmp_path: Path) -> None:
    def steps(*rewards: float) -> list[dict[str, Any]]:
        return [
            {"seconds": 1.0 + n, "reward": reward, "confirm": reward / 2}
            for n, reward in enumerate(rewards)
        ]

    seeds = [{"tpe": steps(0.1, 0.2, 0.3), "ours": steps(0.3, 0.4)} for _ in range(3)]
    lines = report.table(seeds).splitlines()
    assert lines[3].startswith("| ours | 2 | 0.3000 | 0.4000 | 0.1500 | 0.2000 | +0.0000")
    assert lines[3].endswith("| 0.33 [0.33, 0.33] |")
    assert lines[2].endswith("| 1.00 [1.00, 1.00] |")
    report.picture({"made up": seeds}, tmp_path / "picture.svg")
    assert "made up, 3 seeds" in (tmp_path / "picture.svg").read_text()
