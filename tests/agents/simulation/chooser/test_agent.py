from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.checkpoint import Checkpoint
from agenticrs.agents.contract import AgentContract, small_log
from agenticrs.agents.simulation.chooser.agent import SimulatedUser, SimulatedUserConfig
from agenticrs.agents.training_data import TrainingData

SHORT = {"reference_epochs": 1, "epochs": 1, "embedding_size": 8, "hidden": 8, "history": 6}


class TestSimulatedUser(AgentContract):
    agent_type = SimulatedUser
    config = SHORT


def state(budget: Budget, **changed: object) -> dict[str, Tensor]:
    config = {**SHORT, "reference_epochs": 2, "epochs": 2, "batch_size": 32, **changed}
    agent = SimulatedUser(SimulatedUserConfig.model_validate(config), seed=1)
    agent.fit(small_log(), budget)
    return agent.state()


def stopping_after(epochs: int) -> Callable[[float, str], None]:
    """Dies when the next epoch has ended."""
    told: list[str] = []

    def report(fraction: float, text: str) -> None:
        told.append(text)
        if len(told) > epochs:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_training_that_was_killed_goes_on_as_if_nothing_had_been(
    tmp_path: Path, epochs: int
) -> None:
    file = tmp_path / "checkpoint"
    dying = Budget(report=stopping_after(epochs), checkpoint=Checkpoint(file, "it", every=0.0))
    with pytest.raises(KeyboardInterrupt):
        state(dying)
    resumed = state(Budget(checkpoint=Checkpoint(file, "it")))
    for name, weights in state(Budget()).items():
        assert torch.equal(weights, resumed[name]), name


def test_the_policy_begins_at_the_reference_and_leaves_it() -> None:
    reference = state(Budget(), epochs=0)
    policy = state(Budget(), learning_rate=0.01)
    held = state(Budget(), learning_rate=1e-12)
    for name, weights in reference.items():
        torch.testing.assert_close(held[name], weights, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(policy["vectors"], reference["vectors"], atol=1e-3)


def right(agent: SimulatedUser, data: TrainingData) -> float:
    """How often it would choose an item of the user's own half, and not one of the other."""
    own = torch.arange(60) % 2 * 20
    offered = torch.stack([own + 3, 20 - own + 3], 1)
    given = Candidates(offered, torch.zeros(offered.shape))
    nobody_had = UserBatch(
        torch.full((60,), -1), torch.arange(61), data.histories.recent(1)[:, 0].contiguous()
    )
    first = agent.act(nobody_had, [given], 1).items[:, 0]
    return float((first == offered[:, 0]).float().mean())


@pytest.mark.parametrize("taught", [0, 6])
def test_users_it_has_never_seen_are_told_apart_by_their_history(
    two_halves: TrainingData, taught: int
) -> None:
    config = SimulatedUserConfig(
        reference_epochs=taught,
        epochs=6,
        embedding_size=8,
        hidden=8,
        learning_rate=0.01,
        batch_size=64,
    )
    agent = SimulatedUser(config)
    agent.fit(two_halves, Budget())
    assert right(agent, two_halves) > 0.9


@pytest.fixture
def two_halves() -> TrainingData:
    """60 users who each had ten items of their own half of 40."""
    drawing = torch.Generator().manual_seed(3)
    items = torch.cat(
        [user % 2 * 20 + torch.randperm(20, generator=drawing)[:10] for user in range(60)]
    )
    small = small_log()
    return TrainingData(
        n_users=60,
        n_items=40,
        histories=UserBatch(torch.arange(60), 10 * torch.arange(61), items),
        events=small.events,
        user_features=small.user_features,
        item_features=small.item_features,
    )
