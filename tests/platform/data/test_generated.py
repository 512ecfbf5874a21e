from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.generated import (
    DAY,
    START,
    GeneratedPlatform,
    GeneratorConfig,
    generate,
)
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.data.validation import validate


@pytest.fixture(scope="module")
def platform() -> GeneratedPlatform:
    return generate(GeneratorConfig(seed=0))


@pytest.fixture(scope="module")
def dataset(platform: GeneratedPlatform, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return DatasetStore(tmp_path_factory.mktemp("datasets")).save("generated", platform.raw)


def test_the_log_is_valid_and_of_the_promised_size(
    platform: GeneratedPlatform, dataset: Dataset
) -> None:
    assert validate(platform.raw, START + 29 * DAY).ok
    assert (dataset.n_users, dataset.n_items) == (2_000, 800)
    assert 60_000 <= len(dataset.interactions) <= 90_000
    assert dataset.is_positive(dataset.interactions).sum() >= 25_000


def test_a_seed_gives_the_same_platform_and_another_seed_another() -> None:
    small = GeneratorConfig(n_users=60, n_items=40, days=5, seed=3)
    one, two = generate(small), generate(small)
    assert one.raw.interactions.equals(two.raw.interactions)
    assert one.raw.items.equals(two.raw.items)
    other = generate(small.model_copy(update={"seed": 4}))
    assert not one.raw.interactions.equals(other.raw.interactions)


def test_indices_of_the_dataset_are_those_of_the_truth(
    platform: GeneratedPlatform, dataset: Dataset
) -> None:
    assert dataset.user_ids.tolist() == [f"u{number}" for number in range(2_000)]
    assert dataset.item_ids.tolist() == [f"i{number}" for number in range(800)]
    has_topic = np.sort((platform.truth.topics > 0).sum(axis=1))
    np.testing.assert_array_equal(
        np.sort(dataset.item_features.multi_hot["topics"].sum(axis=1)), has_topic
    )


def test_clicks_and_watch_time_follow_the_truth(
    platform: GeneratedPlatform, dataset: Dataset
) -> None:
    rows, truth = dataset.interactions, platform.truth
    day = (rows.timestamp - START) // DAY
    click = rows.behaviours["click"]
    # The item clicked before, user by user.
    previous = np.full(len(rows), -1)
    before, user = -1, -1
    for place in range(len(rows)):
        if rows.user[place] != user:
            before, user = -1, int(rows.user[place])
        previous[place] = before
        if click[place]:
            before = int(rows.item[place])
    users, items = rows.user.astype(np.int64), rows.item.astype(np.int64)
    chance = truth.click_probability(users, items, day, previous)
    assert ((chance > 0) & (chance < 1)).all()
    for low in np.arange(0, 1, 0.1):
        inside = (chance >= low) & (chance < low + 0.1)
        if inside.sum() > 500:
            deviation = np.sqrt(0.25 / inside.sum())
            assert abs(click[inside].mean() - chance[inside].mean()) < 4 * deviation
    seconds = truth.expected_watch_time(users, items, day, previous)
    assert rows.behaviours["watch_time"].mean() == pytest.approx(seconds.mean(), rel=0.05)


def test_nothing_is_shown_twice_or_before_its_day(
    platform: GeneratedPlatform, dataset: Dataset
) -> None:
    rows = dataset.interactions
    pairs = rows.user.astype(np.int64) * dataset.n_items + rows.item
    assert len(np.unique(pairs)) == len(pairs)
    day = (rows.timestamp - START) // DAY
    assert (day >= platform.truth.released[rows.item]).all()
    assert (platform.truth.released > 0).mean() > 0.15


def test_the_planted_drift_begins_on_its_day(platform: GeneratedPlatform) -> None:
    truth = platform.truth
    users, items = np.arange(2_000)[:, None], np.arange(800)[None, :]
    before = truth.click_probability(users, items, truth.shift_day - 1)
    after = truth.click_probability(users, items, truth.shift_day)
    moved = np.abs(before - after).max(axis=1) > 0
    np.testing.assert_array_equal(moved, truth.drifted)
    assert 0.25 < moved.mean() < 0.35


def test_a_great_event_turns_changed_tastes_to_the_same_topics() -> None:
    size = {"n_users": 300, "n_items": 160, "n_topics": 8, "drift_users": 0.5, "seed": 3}
    apart = generate(GeneratorConfig(**size)).truth
    event = generate(GeneratorConfig(**size, drift_topics=2)).truth
    np.testing.assert_array_equal(event.drifted, apart.drifted)
    np.testing.assert_array_equal(event.tastes[0], apart.tastes[0])
    np.testing.assert_array_equal(event.tastes[1, ~event.drifted], apart.tastes[1, ~event.drifted])
    assert event.tastes[1, event.drifted, :2].sum(axis=1) == pytest.approx(1.0)
    assert apart.tastes[1, apart.drifted, :2].sum(axis=1).mean() < 0.5


def test_cold_users_have_short_and_late_histories(
    platform: GeneratedPlatform, dataset: Dataset
) -> None:
    rows, cold = dataset.interactions, platform.truth.cold
    counts = np.bincount(rows.user, minlength=dataset.n_users)
    assert counts[cold].mean() < 0.25 * counts[~cold].mean()
    assert rows.timestamp[cold[rows.user]].min() >= START + 18 * DAY
    heaviest = np.sort(counts)[::-1]
    assert heaviest[:200].sum() > 0.25 * counts.sum()  # a heavy tail


def test_days_saved_one_after_another_are_the_whole(
    platform: GeneratedPlatform, dataset: Dataset, tmp_path: Path
) -> None:
    store = DatasetStore(tmp_path)
    first = store.save("days", platform.between(0, 20))
    assert first.interactions.timestamp.max() < START + 20 * DAY
    assert store.save("days", platform.between(20, 28)).fingerprint == dataset.fingerprint


def test_personal_models_clearly_beat_popularity_and_order_matters(dataset: Dataset) -> None:
    fold = make_fold(dataset, "leave_one_out", "test")
    history = fold.dataset.interactions
    history = history.take(dataset.is_positive(history))
    n_users, n_items = dataset.n_users, dataset.n_items
    X = np.zeros((n_users, n_items))
    X[history.user, history.item] = 1
    gram = X.T @ X + 100 * np.eye(n_items)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    same = history.user[1:] == history.user[:-1]
    steps = np.zeros((n_items, n_items))
    np.add.at(steps, (history.item[:-1][same], history.item[1:][same]), 1)
    last = np.zeros(n_users, dtype=np.int64)
    last[history.user] = history.item
    next_item = steps[last] / np.maximum(steps.sum(axis=1), 5)[last][:, None]

    def ndcg(scores: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
        asked = np.where(X > 0, -np.inf, scores)[fold.heldout.user]
        own = asked[np.arange(len(asked)), fold.heldout.item][:, None]
        rank = (asked > own).sum(axis=1)
        return float(np.where(rank < 10, 1 / np.log2(rank + 2), 0).mean())

    popularity = ndcg(np.tile(X.sum(axis=0), (n_users, 1)))
    ease = ndcg(X @ weights)
    both = ndcg(X @ weights + 0.3 * next_item)
    assert ease > 1.5 * popularity
    assert both > 1.05 * ease


def test_an_impossible_platform_is_refused() -> None:
    for wrong in (
        {"n_users": 0},
        {"cold_users": 1.5},
        {"n_topics": 4, "drift_topics": 5},
        {"n_users": 10**6, "n_items": 10**6},
    ):
        with pytest.raises(ValidationError):
            GeneratorConfig(**wrong)


def test_the_smallest_platforms_work_too() -> None:
    for options in ({"days": 1}, {"late_items": 1.0}, {"cold_users": 1.0}, {"n_topics": 2}):
        config = GeneratorConfig(**{"n_users": 40, "n_items": 20, "days": 6, **options})
        assert generate(config).raw.interactions.num_rows > 0
