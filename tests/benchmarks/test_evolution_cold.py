"""Searches that are compared on models of rewards: what the models know, and what is kept."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agenticrs.registry.spec import Choice, FloatRange, IntRange


@pytest.fixture(scope="module")
def cold() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("evolution_cold")


@pytest.fixture(scope="module")
def model(cold: Any) -> Any:
    return cold.Model(SPACE, rows(60, noise=0.02))


SPACE = (
    FloatRange(name="learning_rate", low=1e-4, high=1e-1, log=True),
    IntRange(name="epochs", low=3, high=10),
    Choice(name="loss", values=("a", "b")),
)


def rows(n: int, *, noise: float = 0.0) -> list[dict[str, Any]]:
    """Points that are best at a rate of .003 and loss b, and cost what their epochs do."""
    random = np.random.default_rng(0)
    found = []
    for seed in range(n):
        values: dict[str, Any] = {
            "learning_rate": float(10 ** random.uniform(-4, -1)),
            "epochs": int(random.integers(3, 11)),
            "loss": "ab"[int(random.integers(2))],
        }
        root = 0.3 - 0.1 * abs(np.log10(values["learning_rate"] / 3e-3))
        root += 0.05 * (values["loss"] == "b") + noise * random.standard_normal()
        reward, seconds = float(root**2), 0.2 * values["epochs"]
        found.append({"values": values, "seed": seed, "seconds": seconds, "reward": reward})
        found[-1] |= {"confirm": reward, "short": reward / 4, "short_seconds": seconds / 4}
    return found


def test_a_model_knows_what_was_trained_and_what_lies_between(model: Any) -> None:
    good, bad = (
        model({"learning_rate": rate, "epochs": 8, "loss": loss}, 0, 1.0, 0.0)
        for rate, loss in ((3e-3, "b"), (8e-2, "a"))
    )
    assert good.confirm == pytest.approx(0.35**2, rel=0.15)
    assert bad.confirm < 0.4 * good.confirm
    assert good.seconds == pytest.approx(1.6, rel=0.1)
    short = model({"learning_rate": 3e-3, "epochs": 8, "loss": "b"}, 0, 0.25, 0.0)
    assert short.seconds == pytest.approx(0.4, rel=0.1)
    assert short.reward < 0.5 * good.reward


def test_the_noise_of_a_training_is_its_seeds(model: Any) -> None:
    point = rows(1)[0]["values"]
    first, again, other = (model(point, seed, 1.0, 0.0) for seed in (1, 1, 2))
    assert first == again
    assert first.reward != other.reward
    assert first.confirm == other.confirm, "what is compared has no noise"


def test_points_are_kept_as_they_were(cold: Any) -> None:
    whole = rows(5)
    for one in whole[3:]:
        del one["short"], one["short_seconds"]
    again = cold._unpacked(cold._packed(whole))
    assert [one["values"] for one in again] == [
        {**one["values"], "learning_rate": pytest.approx(one["values"]["learning_rate"], rel=1e-4)}
        for one in whole
    ]
    assert ["short" in one for one in again] == [True, True, True, False, False]


def test_a_search_that_is_drawn_again_brings_the_same_points(cold: Any, model: Any) -> None:
    drawn: list[tuple[dict[str, Any], int]] = []

    def measure(values: Any, seed: int, effort: float, after: float) -> Any:
        drawn.append((dict(values), seed))
        return model(values, seed, effort, after)

    steps = [asdict(step) for step in islice(cold.evolution.alone(SPACE, 7, measure), 14)]
    again = cold.drawn_again(steps, lambda told: cold.evolution.alone(SPACE, 7, told))
    assert [(one["values"], one["seed"]) for one in again] == drawn
    assert sum(one["seconds"] for one in again) == pytest.approx(steps[-1]["seconds"])


def test_variants_have_the_seconds_of_tpe_and_begin_where_they_say(
    cold: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"learning_rate": 3e-3, "epochs": 8, "loss": "b"}
    monkeypatch.setattr(cold.evolution, "TRIALS", 8)
    monkeypatch.setattr(cold.evolution, "defaults", lambda space: own)
    monkeypatch.setattr(cold, "VARIANTS", cold.VARIANTS[:2])
    curves = cold.simulate(model, SPACE, 1)
    assert list(curves) == ["tpe", "joint 4 rung", "joint 4 rung defaults"]
    best = model(own, 0, 1.0, 0.0).confirm
    assert max(curves["joint 4 rung defaults"]) == pytest.approx(best, rel=0.1)
    assert curves == cold.simulate(model, SPACE, 1)
    told = cold.table({"made up": {"curves": {name: [one] for name, one in curves.items()}}})
    assert [line.split(" | ")[0] for line in told.splitlines()[2:]] == [f"| {n}" for n in curves]
