"""What is read off a log: signals, visits, traits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.agents.simulation.logbook import Logbook
from agenticrs.agents.simulation.signals import Signals
from agenticrs.agents.simulation.traits import Traits
from agenticrs.platform.data.dataset import Dataset, Features, Interactions, Positive
from agenticrs.platform.errors import DataError

HOUR, DAY = 3_600, 86_400
Rows = list[tuple[int, int, int, float]]
"""User, item, time, rating."""


def rated(rows: Rows, tags: np.ndarray | None = None, *, times: bool = True) -> Dataset:
    table = np.array(sorted(rows, key=lambda row: (row[0], row[2])), dtype=np.float64)
    table = table.reshape(-1, 4)
    n_users = int(table[:, 0].max(initial=-1)) + 1
    n_items = 6
    genres = np.eye(n_items, dtype=np.float32) if tags is None else tags
    return Dataset(
        name="rated",
        fingerprint="f",
        interactions=Interactions(
            user=table[:, 0].astype(np.int32),
            item=table[:, 1].astype(np.int32),
            timestamp=table[:, 2].astype(np.int64),
            behaviours={"rating": table[:, 3].astype(np.float32)},
        ),
        user_ids=np.arange(n_users).astype(np.str_),
        item_ids=np.arange(n_items).astype(np.str_),
        item_titles=np.arange(n_items).astype(np.str_),
        user_features=Features(),
        item_features=Features(multi_hot={"genres": genres}),
        positive=Positive("rating", 1.0),
        has_times=times,
    )


def logbook(dataset: Dataset) -> Logbook:
    return Logbook.of(dataset, Signals.of(dataset))


def test_events_of_one_day_are_a_visit_and_days_begin_when_nobody_is_awake() -> None:
    night = 23 * HOUR  # this user goes on past midnight
    rows = [(0, 0, night, 3.0), (0, 1, night + 2 * HOUR, 3.0), (0, 2, night + DAY, 3.0)]
    log = logbook(rated(rows))
    assert log.place.tolist() == [0, 1, 0]
    assert log.last.tolist() == [False, True, True]
    assert (log.day - log.day[0]).tolist() == [0, 0, 1]


def test_without_times_everything_is_one_visit() -> None:
    log = logbook(rated([(0, 0, 1, 3.0), (0, 1, 2, 3.0), (1, 0, 1, 4.0)], times=False))
    assert log.day.tolist() == [0, 0, 0]
    assert log.last.tolist() == [False, True, True]


def test_a_log_of_ratings_alone_does_not_know_what_was_shown(dataset: Dataset) -> None:
    signals = Signals.of(rated([(0, 0, 1, 1.0), (0, 1, 2, 5.0)]))
    assert (signals.measure, signals.shown, signals.reactions) == ("rating", False, ())
    assert signals.satisfaction(torch.tensor([1.0, 5.0]), torch.zeros(2, 0)).tolist() == [0, 1]
    watched = Signals.of(dataset)
    assert (watched.measure, watched.shown) == ("watch_ratio", True)
    with pytest.raises(DataError, match="without rows"):
        Signals.of(rated([]))


@given(st.floats(0.01, 0.99))
def test_an_amount_lies_in_the_level_that_it_was_drawn_from(where: float) -> None:
    dataset = generated()
    signals = Signals.of(dataset)
    level = torch.arange(signals.n_levels)
    amount = signals.amount(level, torch.full((signals.n_levels,), where))
    assert signals.level(amount).tolist() == level.tolist()


def generated() -> Dataset:
    """Watch ratios with a heap at zero and one at the end."""
    rng = np.random.default_rng(0)
    ratio = np.concatenate([np.zeros(30), rng.random(150), np.ones(40), 1 + rng.random(30)])
    plain = rated([(0, 0, place, 1.0) for place in range(len(ratio))])
    rows = replace(
        plain.interactions,
        behaviours={
            "watch_time": (20 * ratio).astype(np.float32),
            "duration": np.full(len(ratio), 20, np.float32),
            "click": (ratio > 0.3).astype(np.float32),
        },
    )
    return replace(plain, interactions=rows, positive=Positive("click", 1.0))


def test_a_like_is_bliss_and_a_hate_is_not() -> None:
    signals = replace(Signals.of(generated()), reactions=("like", "hate"))
    reactions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = signals.satisfaction(torch.tensor([0.1, 0.9, 0.4]), reactions)
    assert found.tolist() == pytest.approx([1.0, 0.0, 0.4])


ratings = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(1, 5)),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[:2],
)


@settings(deadline=None)
@given(ratings, st.integers(0, 100))
def test_traits_are_those_of_the_definition(rows: list[tuple[int, int, int]], seed: int) -> None:
    tags = (np.random.default_rng(seed).random((6, 4)) < 0.4).astype(np.float32)
    log = logbook(rated([(u, i, place, r) for place, (u, i, r) in enumerate(rows)], tags))
    traits = Traits.of(log, torch.from_numpy(tags), 5)
    for user in range(5):
        own = [row for row in rows if row[0] == user]
        if not own:
            assert np.isnan(float(traits.activity[user]))
            assert np.isnan(float(traits.conformity[user]))
            continue
        assert float(traits.activity[user]) == len(own)
        apart = [(r - np.mean([s for _, j, s in rows if j == i])) ** 2 for _, i, r in own]
        assert float(traits.conformity[user]) == pytest.approx(np.mean(apart), abs=1e-5)
        mass = sorted((tags[[i for _, i, _ in own]].sum(0)), reverse=True)
        if not sum(mass):
            assert np.isnan(float(traits.diversity[user]))
            continue
        held = sum(sum(mass[: n + 1]) <= 0.8 * sum(mass) + 1e-6 for n in range(4))
        assert float(traits.diversity[user]) == held


def test_who_lies_on_the_end_of_a_tier_is_above_it() -> None:
    values = torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    tiers = Traits(values, values, torch.full((11,), torch.nan)).tiers()
    assert tiers["activity"].tolist() == [1] * 6 + [2] * 3 + [3] * 2
    assert tiers["diversity"].tolist() == [0] * 11
