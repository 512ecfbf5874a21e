"""What is within reach of somebody who knew the best settings, in a small world."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agenticrs.platform.data.generated import GeneratorConfig, generate


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("evolution_reach")


def test_a_goal_is_the_more_likely_the_more_trainings_reach_it(
    reach: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noisy:
        """Rewards of .1 more for every second layer, of .3 less or more by the seed."""

        def __init__(self, fold: Any) -> None:
            self.fold = fold

        def __call__(
            self, values: Mapping[str, Any], seed: int, effort: float = 1.0, after: float = 0.0
        ) -> Any:
            reward = 0.5 + 0.1 * (values.get("layers", 1) == 2) + (0.3 if seed % 2 else -0.3)
            return reach.Step(2.0, reward, reward)

    space = reach.evolution.narrowed(reach.load_agents()[reach.evolution.AGENT].spec.space.expand())
    measure = Noisy(None)
    steps = list(islice(reach.evolution.alone(space, 1000, measure), 12))
    known = {"1": {"ways": {"tpe": [vars(step) for step in steps]}}}
    raw = generate(GeneratorConfig(n_users=40, n_items=60)).raw
    monkeypatch.setitem(reach.evolution.TASKS, "made up", SimpleNamespace(read=lambda: raw))
    monkeypatch.setitem(reach.evolution.USERS, "made up", 30)
    monkeypatch.setattr(reach, "Trials", Noisy)
    found = reach.reach("made up", known)
    assert found["values"]["layers"] == 2
    assert sorted(set(found["rewards"])) == pytest.approx([0.3, 0.9])
    assert len(found["rewards"]) == reach.REPEATS + reach.MORE
    (goal,) = found["goals"]
    assert (goal["goal"], goal["share"]) == (pytest.approx(0.9), 0.5)
    assert goal["chance"] == pytest.approx(1 - 0.5 ** (12 * 2.0 / 3 / 2.0))
