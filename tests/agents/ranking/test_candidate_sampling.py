from __future__ import annotations

from typing import Any

import pytest
import torch

from agenticrs.agents.ranking.candidate_sampling import CandidateSampler
from agenticrs.agents.training_data import TrainingData


def drawn(data: TrainingData, **shares: float) -> torch.Tensor:
    """1000 negatives for users 0 (items 0-19) and 1 (items 20-39)."""
    given: dict[str, Any] = {"neighbours": 0.0, "popular": 0.0, "exposed": 0.0, **shares}
    sampler = CandidateSampler(
        data,
        **given,
        generator=torch.Generator().manual_seed(0),
    )
    rows = torch.tensor([0, 1])
    return sampler.draw(rows, data.histories.take(rows).recent(10), 1000)


@pytest.mark.parametrize("source", ["neighbours", "popular", "exposed", "uniform"])
def test_items_of_the_history_are_no_negatives(two_tastes: TrainingData, source: str) -> None:
    items = drawn(two_tastes, **({} if source == "uniform" else {source: 1.0}))
    for row in (0, 1):
        had = two_tastes.histories.items[8 * row : 8 * row + 8]
        assert torch.isin(items[row], had).float().mean() < 0.02


def test_neighbours_share_the_users_taste(two_tastes: TrainingData) -> None:
    near, uniform = drawn(two_tastes, neighbours=1.0), drawn(two_tastes)
    assert (near[0] < 20).float().mean() > (uniform[0] < 20).float().mean() + 0.1
    assert (near[1] >= 20).float().mean() > (uniform[1] >= 20).float().mean() + 0.1


def test_exposed_negatives_are_what_this_user_was_shown_and_did_not_take(
    two_tastes: TrainingData,
) -> None:
    items = drawn(two_tastes, exposed=1.0)
    events = two_tastes.events
    for row in (0, 1):
        shown = events.item[(events.user == row) & (events.label == 0)]
        assert sorted(set(items[row].tolist())) == sorted(shown.tolist())


def test_a_power_flattens_how_popular_negatives_are(two_tastes: TrainingData) -> None:
    counts = torch.bincount(two_tastes.histories.items, minlength=40).float()
    means = [
        float(counts[drawn(two_tastes, popular=1.0, power=power)[0]].mean())
        for power in (1.0, 0.5, 0.0)
    ]
    assert means == sorted(means, reverse=True)
    unseen = torch.ones(40, dtype=torch.bool)
    unseen[two_tastes.histories.items[:8]] = False
    assert means[2] == pytest.approx(float(counts[unseen].mean()), rel=0.05)


def test_popular_negatives_follow_the_counts(two_tastes: TrainingData) -> None:
    items = drawn(two_tastes, popular=1.0)[0]
    unseen = torch.ones(40, dtype=torch.bool)
    unseen[two_tastes.histories.items[:8]] = False
    counts = torch.bincount(two_tastes.histories.items, minlength=40).float()[unseen]
    hits = torch.bincount(items, minlength=40).float()[unseen]
    assert torch.corrcoef(torch.stack([counts, hits]))[0, 1] > 0.6
