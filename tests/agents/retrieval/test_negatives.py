from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agenticrs.agents.retrieval import negatives
from agenticrs.agents.retrieval.negatives import NegativeSampler
from agenticrs.agents.training_data import TrainingData

MakeData = Callable[..., TrainingData]


def test_negatives_are_never_items_of_the_users_history(
    blocks: tuple[TrainingData, torch.Tensor],
) -> None:
    data, _ = blocks
    sampler = NegativeSampler(data.histories, 60, torch.Generator().manual_seed(0))
    rows = torch.arange(80).repeat(20)
    drawn = sampler.draw(rows, 3)
    assert drawn.shape == (1600, 3)
    collisions = sampler.contains(rows[:, None], drawn)
    assert collisions.float().mean() < 0.2**4 * 3
    assert set(drawn.flatten().tolist()) == set(range(60))


@pytest.mark.parametrize("most_cells", [100, 0], ids=["bits", "search"])
def test_contains_agrees_with_the_histories(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch, most_cells: int
) -> None:
    monkeypatch.setattr(negatives, "_MOST_CELLS", most_cells)
    data = make_data([[3, 1], [], [0]], 4)
    sampler = NegativeSampler(data.histories, 4, torch.Generator().manual_seed(0))
    table = sampler.contains(torch.arange(3)[:, None], torch.arange(4)[None])
    assert table.int().tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
