"""The benchmark of simulated users: what it holds out, and what it tells a peer."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agenticrs.agents.simulation import network
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.simulate import Rules
from agenticrs.agents.simulation.world import fit_world
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.store import DatasetStore


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    raw = generate(GeneratorConfig(n_users=80, n_items=40, n_topics=4, days=7)).raw
    return DatasetStore(tmp_path_factory.mktemp("data")).save("tiny", raw)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module


def test_the_latest_quarter_is_the_end_of_every_history(script: Any, dataset: Dataset) -> None:
    fold = script("simulation").latest(dataset)
    rows, history, heldout = dataset.interactions, fold.dataset.interactions, fold.heldout
    counts = np.bincount(rows.user, minlength=80)
    kept = np.bincount(history.user, minlength=80)
    assert (kept == np.ceil(0.75 * counts)).all()
    for user in range(80):
        own, taken = rows.user == user, dataset.is_positive(rows)
        before = set(rows.item[own & taken][: (taken[own][: kept[user]]).sum()].tolist())
        later = rows.item[own][kept[user] :][taken[own][kept[user] :]].tolist()
        held = heldout.item[heldout.user == user].tolist()
        assert held == [i for i in dict.fromkeys(later) if i not in before]
        # Nothing that is held out happened before what may be learnt from.
        assert not held or heldout.timestamp[heldout.user == user].min() >= (
            history.timestamp[history.user == user].max()
        )


def test_a_peer_is_told_everything_that_users_decide_by(
    script: Any, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_STEPS", 5)
    world = fit_world(dataset, seed=0)
    arrays = script("simulation_peer").arrays_of(Population.of(world, torch.arange(7)), Rules())
    told = json.loads(arrays.pop("told"))
    assert (told["users"], told["items"], told["page_size"]) == (7, 40, 4)
    assert all(isinstance(part, np.ndarray) for part in arrays.values())
    outputs = told["n_levels"] + (0 if told["shown"] else 1)
    assert arrays["first.second"].shape[1] == outputs == len(arrays["first.scale"])
    assert len(arrays["centre"]) == len(arrays["spread"]) == arrays["first.first"].shape[0]
    assert arrays["second.first"].shape[0] == len(arrays["centre"]) + 3
