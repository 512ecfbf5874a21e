"""A generated video platform whose users' true tastes are known.

What is planted, so that each kind of method has something to find:

* videos belong to one or two topics, to a creator, and to a series with a fixed order; popularity
  follows Zipf's law; a share of them appears only as the days go by;
* users have tastes over topics (related to their age group), an activity with a heavy tail, and a
  patience; some of them arrive late and leave only a short history;
* after a click, a user is inclined to the series' next episode and to topics that follow on from
  the topic just seen (that inclination is what a sequence model can learn);
* on a known day a known share of users changes tastes, each in a way of their own or all of them
  towards the same few topics;
* a mixed policy (popular, personal, next episode, random) chooses what is shown, each video at
  most once to a user.

The log holds every exposure with its feedback; ``GroundTruth`` computes what any user would have
done with any video on any day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agenticrs.platform.data.dataset import Positive
from agenticrs.platform.data.exposure import LoggingPolicy
from agenticrs.platform.data.ground_truth import DAY, START, Floats, GroundTruth, Ints
from agenticrs.platform.data.raw import Declaration, RawLog

__all__ = ["DAY", "START", "GeneratedPlatform", "GeneratorConfig", "GroundTruth", "generate"]

_TOPICS = (
    "cooking",
    "football",
    "travel",
    "comedy",
    "music",
    "pets",
    "science",
    "gaming",
    "fashion",
    "news",
    "fitness",
    "cars",
    "gardening",
    "history",
    "dance",
    "art",
)
_AGES = ("13-17", "18-24", "25-34", "35-44", "45-54", "55+")
_COUNTRIES = ("BR", "DE", "IN", "JP", "NG", "US")


class GeneratorConfig(BaseModel):
    """Size and character of the platform. Shares are between 0 and 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_users: int = Field(default=2_000, ge=1)
    n_items: int = Field(default=800, ge=20)
    n_topics: int = Field(default=16, ge=2, le=100)
    days: int = Field(default=28, ge=1, le=3_650)
    events_per_user: float = Field(default=42.0, gt=0)
    """Mean number of exposures of a user over all days (heavy tail; cold users have fewer)."""
    most_events_per_day: int = Field(default=20, ge=1, le=500)
    series_length: int = Field(default=8, ge=1)
    """Videos of one series."""
    late_items: float = Field(default=0.25, ge=0, le=1)
    """Share of the videos that appear after day 0."""
    cold_users: float = Field(default=0.1, ge=0, le=1)
    """Share of the users that arrive in the last third with a handful of exposures."""
    drift_users: float = Field(default=0.3, ge=0, le=1)
    """Share of the users whose tastes change on ``drift_day``."""
    drift_day: int | None = Field(default=None, ge=0)
    """None: after three quarters of the days."""
    drift_topics: int | None = Field(default=None, ge=1)
    """Changed tastes keep to so many topics, the same for all, as in the days of a great event;
    None: to none."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> GeneratorConfig:
        if self.n_users * self.n_items > 500_000_000:
            raise ValueError(
                f"n_users * n_items must be at most 500 million, got {self.n_users * self.n_items}"
            )
        if self.drift_topics is not None and self.drift_topics > self.n_topics:
            raise ValueError(
                f"drift_topics must be at most n_topics = {self.n_topics}, got {self.drift_topics}"
            )
        return self

    @property
    def shift_day(self) -> int:
        """The day on which the planted drift begins."""
        return self.days * 3 // 4 if self.drift_day is None else self.drift_day


@dataclass(frozen=True)
class GeneratedPlatform:
    """The log of all days, and the truth behind it."""

    raw: RawLog
    truth: GroundTruth

    def between(self, first_day: int, end_day: int) -> RawLog:
        """The log of the days from ``first_day`` up to but not including ``end_day``.

        The catalogue and the users are complete in every part, so parts that are saved under one
        name one after another give the same snapshot as the whole.
        """
        times = self.raw.interactions["timestamp"]
        inside = pc.and_(
            pc.greater_equal(times, START + first_day * DAY), pc.less(times, START + end_day * DAY)
        )
        return replace(self.raw, interactions=self.raw.interactions.filter(inside))


def generate(config: GeneratorConfig) -> GeneratedPlatform:
    """Generate the platform; the same config gives the same log on every machine of one kind."""
    rng = np.random.default_rng(config.seed)
    items = _make_items(config, rng)
    users = _make_users(config, rng)
    truth = GroundTruth(
        shift_day=config.shift_day,
        tastes=users.tastes,
        drifted=users.drifted,
        cold=users.cold,
        patience=users.patience,
        topics=items.topics,
        quality=items.quality,
        popularity=items.popularity,
        duration=items.duration,
        released=items.released,
        next_episode=items.next_episode,
        follow_on=_follow_on(config.n_topics, rng),
    )
    log = LoggingPolicy(truth, rng).run(_events_per_day(config, users, rng))
    return GeneratedPlatform(
        raw=RawLog(
            interactions=log,
            users=_user_table(users, rng),
            items=_item_table(config, items),
            declaration=Declaration(
                positive=Positive("click", 1.0),
                value="watch_time",
                user_features={"age": "categorical", "country": "categorical"},
                item_features={
                    "creator": "categorical",
                    "topics": "multi_hot",
                    "log_duration": "numeric",
                    "release_day": "numeric",
                },
                context=("hour",),
            ),
            users_complete=True,
            items_complete=True,
            notes=(f"generated with seed {config.seed}; every number comes from a simulation",),
        ),
        truth=truth,
    )


@dataclass(frozen=True)
class _Items:
    topics: Floats
    main_topic: Ints
    quality: Floats
    popularity: Floats
    duration: Floats
    released: Ints
    series: Ints
    episode: Ints
    next_episode: Ints


@dataclass(frozen=True)
class _Users:
    tastes: Floats
    drifted: npt.NDArray[np.bool_]
    cold: npt.NDArray[np.bool_]
    patience: Floats
    age: Ints


def _make_items(config: GeneratorConfig, rng: np.random.Generator) -> _Items:
    n, n_topics = config.n_items, config.n_topics
    place = rng.permutation(n)  # scatter series over the indices
    series_of_place = np.arange(n) // config.series_length
    series = series_of_place[place]
    episode = place % config.series_length
    at_place = np.argsort(place)
    follows = np.append(series_of_place[1:] == series_of_place[:-1], False)
    next_episode = np.full(n, -1, dtype=np.int64)
    next_episode[at_place[:-1]] = np.where(follows[:-1], at_place[1:], -1)
    n_series = int(series.max()) + 1
    main = rng.integers(n_topics, size=n_series)
    main[: min(n_topics, n_series)] = np.arange(n_topics)[:n_series]  # no topic without videos
    second = (main + rng.integers(1, n_topics, size=n_series)) % n_topics
    topics = np.zeros((n, n_topics))
    share = np.where(rng.random(n_series) < 0.4, 0.3, 0.0)
    topics[np.arange(n), main[series]] = 1 - share[series]
    topics[np.arange(n), second[series]] += share[series]
    # Zipf over a mixture of chance and series, so that good series stay good.
    rank = np.argsort(np.argsort(rng.normal(size=n) + 0.7 * rng.normal(size=n_series)[series]))
    released = np.zeros(n, dtype=np.int64)
    late = rng.random(n) < config.late_items
    released[late] = rng.integers(0, config.days, size=int(late.sum()))
    released[0] = 0  # the first day needs something to show
    return _Items(
        topics=topics,
        main_topic=main[series],
        quality=rng.normal(0.0, 0.35, size=n),
        popularity=np.power(rank + 1.0, -0.9),
        duration=rng.lognormal(3.6, 0.7, size=n).clip(5.0, 600.0).round(1),
        released=released,
        series=series,
        episode=episode,
        next_episode=next_episode,
    )


def _make_users(config: GeneratorConfig, rng: np.random.Generator) -> _Users:
    n, n_topics = config.n_users, config.n_topics
    age = rng.choice(len(_AGES), size=n, p=[0.08, 0.27, 0.27, 0.18, 0.12, 0.08])
    of_age = rng.dirichlet(np.full(n_topics, 0.4), size=len(_AGES))
    before = 0.8 * rng.dirichlet(np.full(n_topics, 0.1), size=n) + 0.2 * of_age[age]
    after = 0.8 * rng.dirichlet(np.full(n_topics, 0.1), size=n) + 0.2 * of_age[age]
    if config.drift_topics is not None:
        after[:, config.drift_topics :] = 0.0  # topics are alike but for their number
        after /= after.sum(axis=1, keepdims=True)
    drifted = rng.random(n) < config.drift_users
    return _Users(
        tastes=np.stack([before, np.where(drifted[:, None], after, before)]),
        drifted=drifted,
        cold=rng.random(n) < config.cold_users,
        patience=rng.beta(5, 3, size=n),
        age=age,
    )


def _follow_on(n_topics: int, rng: np.random.Generator) -> Floats:
    """From every topic two others follow on: one strongly, one weakly."""
    table = np.zeros((n_topics, n_topics))
    strong = np.roll(rng.permutation(n_topics), 1)
    topics = np.arange(n_topics)
    table[topics, strong] = 1.0
    weak = (strong + rng.integers(1, n_topics, size=n_topics)) % n_topics
    table[topics, weak] = 0.5
    return table


def _events_per_day(config: GeneratorConfig, users: _Users, rng: np.random.Generator) -> Ints:
    """Number of exposures, (days, U): heavy-tailed in users, none on most days of most users."""
    n, days = config.n_users, config.days
    activity = rng.lognormal(0.0, 0.8, size=n)
    activity *= config.events_per_user / activity.mean()
    arrival = np.where(users.cold, rng.integers(days * 2 // 3, days, size=n), 0)
    activity[users.cold] = rng.uniform(1, 6, size=int(users.cold.sum()))
    there = np.arange(days)[:, None] >= arrival
    active = there & (rng.random((days, n)) < 0.35)
    sessions = np.maximum(active.sum(axis=0), 1)
    events: Ints = rng.poisson(active * (activity / sessions)) * active
    return events.clip(max=config.most_events_per_day)


def _user_table(users: _Users, rng: np.random.Generator) -> pa.Table:
    n = len(users.age)
    return pa.table(
        {
            "user_id": [f"u{number}" for number in range(n)],
            "age": pa.array(_AGES).take(pa.array(users.age)),
            "country": pa.array(_COUNTRIES).take(pa.array(rng.integers(len(_COUNTRIES), size=n))),
        }
    )


def _item_table(config: GeneratorConfig, items: _Items) -> pa.Table:
    names = [
        _TOPICS[topic] if topic < len(_TOPICS) else f"topic {topic + 1}"
        for topic in range(config.n_topics)
    ]
    tags = [[names[topic] for topic in np.flatnonzero(row)] for row in items.topics]
    titles = [
        f"{names[topic].capitalize()} with creator {series + 1}, episode {episode + 1}"
        for topic, series, episode in zip(
            items.main_topic, items.series, items.episode, strict=True
        )
    ]
    return pa.table(
        {
            "item_id": [f"i{number}" for number in range(config.n_items)],
            "title": titles,
            "creator": [f"creator {series + 1}" for series in items.series],
            "topics": pa.array(tags, pa.list_(pa.string())),
            "log_duration": np.log1p(items.duration),
            "release_day": items.released.astype(np.float64),
        }
    )
