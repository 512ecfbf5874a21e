"""A small generated platform, and a world fitted to it, shared by all tests."""

from __future__ import annotations

import pytest

from agenticrs.agents.simulation import network
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.world import Study, World, study
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.store import DatasetStore


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """400 users, 160 videos, 14 days, watch times and reactions."""
    config = GeneratorConfig(n_users=400, n_items=160, n_topics=8, days=14, drift_users=0.0)
    return DatasetStore(tmp_path_factory.mktemp("data")).save("small", generate(config).raw)


@pytest.fixture(scope="session")
def fitted(dataset: Dataset) -> Study:
    """Fitted in a few steps, which is enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "_STEPS", 300)
        return study(dataset, seed=0)


@pytest.fixture(scope="session")
def world(fitted: Study) -> World:
    """The study's world."""
    return fitted.world


@pytest.fixture(scope="session")
def population(world: World) -> Population:
    """All users of the log."""
    return Population.of(world)
