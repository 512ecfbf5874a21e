from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.simulation import network
from agenticrs.agents.simulation.jobs import fit_world_of, live_with
from agenticrs.agents.simulation.judged import JudgedWorld, judge
from agenticrs.agents.simulation.objectives import objectives
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.simulate import acting, simulate
from agenticrs.agents.simulation.world_files import pack, unpack
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Dataset, Fold
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.errors import AgentError, DataError
from agenticrs.registry.graph import Graph, Node
from agenticrs.rewards.objectives import OBJECTIVES

SPECS = {name: catalogue.load_agents()[name].spec for name in ("popularity", "ease")}


@pytest.fixture(scope="module")
def fold(dataset: Dataset) -> Fold:
    return make_fold(dataset, "leave_one_out", "valid")


@pytest.fixture(scope="module")
def judged(fold: Fold) -> JudgedWorld:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "_STEPS", 200)
        return judge(fold, seed=0)


@pytest.fixture(scope="module")
def files(fold: Fold) -> dict[str, dict[str, bytes]]:
    data, made = TrainingData.of(fold.dataset), {}
    for name in SPECS:
        agent = catalogue.build(name, {}, seed=0)
        agent.fit(data, Budget())
        made[name] = artifact.pack(agent)
    return made


def alone(agent: str) -> Graph:
    return Graph(nodes=(Node(id=agent, agent=agent, version=1),), output=agent)


def test_a_world_is_judged_with_an_ordering_of_recommenders(judged: JudgedWorld) -> None:
    assert 0 < judged.trust.score < 1
    assert judged.users > 0
    assert judged.ordering is not None
    assert judged.trust.parts["ordering"] == (1 + judged.ordering.tau) / 2


def test_a_world_that_was_kept_is_the_world_that_was_fitted(
    judged: JudgedWorld, fold: Fold
) -> None:
    again = unpack(pack(judged))
    assert (again.trust, again.ordering, again.users) == (
        judged.trust,
        judged.ordering,
        judged.users,
    )
    for part in fields(judged.world.persona):
        before, after = (getattr(w.world.persona, part.name) for w in (judged, again))
        assert torch.equal(before, after), part.name
    agent = catalogue.build("popularity", {}, seed=0)
    agent.fit(TrainingData.of(fold.dataset), Budget())
    first, second = (
        simulate(Population.of(w.world), acting(agent), 2, seed=3).signals for w in (judged, again)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("cut", [0, 7, 100, -20])
def test_a_damaged_file_is_refused(judged: JudgedWorld, cut: int) -> None:
    with pytest.raises(DataError, match="damaged"):
        unpack(pack(judged)[:cut])


def test_a_file_without_a_world_is_refused() -> None:
    from safetensors.torch import save

    with pytest.raises(DataError, match="damaged"):
        unpack(save({"a": torch.zeros(1)}))


def test_users_get_the_same_from_a_composition_as_from_its_only_agent(
    judged: JudgedWorld, fold: Fold, files: dict[str, dict[str, bytes]]
) -> None:
    users = np.arange(0, 400, 5)
    found = live_with(fold, pack(judged), alone("ease"), SPECS, 100, users, 3, 0, files["ease"])
    assert set(found) == set(OBJECTIVES)
    population = Population.of(judged.world, torch.from_numpy(users))
    outcome = simulate(population, acting(artifact.unpack(files["ease"])), 3, seed=0)
    for name, values in objectives(outcome).items():
        assert np.allclose(values.numpy(), found[name]), name


def test_what_suits_users_is_worth_more_to_them_than_what_is_popular(
    judged: JudgedWorld, fold: Fold, files: dict[str, dict[str, bytes]]
) -> None:
    users, world = np.arange(400), pack(judged)
    ease, popular = (
        live_with(fold, world, alone(name), SPECS, 100, users, 4, 0, files[name])
        for name in ("ease", "popularity")
    )
    for name in ("watch_time", "satisfaction", "long_term_value"):
        assert ease[name].mean() > popular[name].mean(), name
    assert ease["risk"].mean() < popular["risk"].mean()


def test_an_agent_that_fails_is_no_result(
    judged: JudgedWorld,
    fold: Fold,
    files: dict[str, dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise AgentError("broken")

    monkeypatch.setattr(type(artifact.unpack(files["ease"])), "act", fails)
    with pytest.raises(AgentError, match="broken"):
        live_with(fold, pack(judged), alone("ease"), SPECS, 100, np.arange(9), 1, 0, files["ease"])


def test_risk_is_a_visit_that_left_the_user_with_nothing(judged: JudgedWorld) -> None:
    population = Population.of(judged.world, torch.arange(50))
    nothing = simulate(population, lambda users, k: torch.full((len(users), k), -1), 2, seed=0)
    assert (objectives(nothing)["risk"] == 1).all()
    assert (objectives(nothing)["long_term_value"] == 0).all()


def test_a_log_of_a_handful_of_users_makes_no_world(tmp_path: Path) -> None:
    raw = generate(GeneratorConfig(n_users=3, n_items=20, events_per_user=4)).raw
    small = DatasetStore(tmp_path).save("tiny", raw)
    with pytest.raises(DataError):
        fit_world_of(make_fold(small, "leave_one_out", "valid"), 0)
