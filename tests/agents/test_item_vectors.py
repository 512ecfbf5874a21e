from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from agenticrs.agents.item_vectors import described_vectors, item_vectors
from agenticrs.agents.training_data import FeatureTensors, TrainingData
from agenticrs.platform.data.dataset import Fold


def test_tags_become_unit_vectors(fold: Fold) -> None:
    data = TrainingData.of(fold.dataset)
    torch.testing.assert_close(item_vectors(data), data.item_features.tags / 2**0.5)


def test_without_tags_categories_speak_and_unknown_ones_are_silent() -> None:
    codes = torch.tensor([[0, 1], [2, 1], [0, 0]])
    vectors = described_vectors(FeatureTensors(codes, (3, 2), torch.zeros(3, 0), torch.zeros(3, 0)))
    assert vectors is not None
    torch.testing.assert_close(
        vectors, torch.tensor([[0.0, 0, 1], [0.0, 0.5**0.5, 0.5**0.5], [0, 0, 0]])
    )


def test_without_features_items_of_one_taste_are_alike(make_fold: Callable[..., Fold]) -> None:
    data = TrainingData.of(make_fold(tags=False).dataset)
    vectors = item_vectors(data)
    counts = np.bincount(data.histories.items, minlength=40)
    likeness = (vectors @ vectors.T).numpy()
    popular = np.flatnonzero(counts >= 5)
    own = (popular[:, None] // 20) == (popular // 20)
    off_diagonal = ~np.eye(len(popular), dtype=bool)
    block = likeness[np.ix_(popular, popular)]
    assert block[own & off_diagonal].mean() > block[~own].mean() + 0.05
    assert np.abs(block[~own]).max() < 1e-3  # the two tastes share no user
    assert (vectors[counts == 0] == 0).all()
