"""A generated video platform whose users' true tastes are known.

What is planted, so that each kind of method has something to find:

* videos belong to one or two topics, to a creator, and to a series with a fixed order; popularity
  follows Zipf's law; a share of them appears only as the days go by;
* users have tastes over topics (related to their age group), an activity with a heavy tail, and a
  patience; some of them arrive late and leave only a short history;
* after a click, a user is inclined to the series' next episode and to topics that follow on from
  the topic just seen (that inclination is what a sequence model can learn);
* on a known day a known share of users changes tastes;
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
from agenticrs.platform.data.raw import Declaration, RawLog

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

START = 1_735_689_600
"""Midnight of 2025-01-01 UTC: day 0 of every generated platform."""
DAY = 86_400
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
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> GeneratorConfig:
        if self.n_users * self.n_items > 500_000_000:
            raise ValueError(
                f"n_users * n_items must be at most 500 million, got {self.n_users * self.n_items}"
            )
        return self

    @property
    def shift_day(self) -> int:
        """The day on which the planted drift begins."""
        return self.days * 3 // 4 if self.drift_day is None else self.drift_day


@dataclass(frozen=True)
class GroundTruth:
    """The latent world. Indices are those of a dataset saved from the platform's log.

    Shapes: U users, N items, T topics. Methods broadcast their arguments and are vectorised.
    """

    shift_day: int
    tastes: Floats
    """(2, U, T), rows sum to 1: tastes before and from the shift day on."""
    drifted: npt.NDArray[np.bool_]
    """(U,): whose tastes change."""
    cold: npt.NDArray[np.bool_]
    """(U,): who arrives late with a short history."""
    patience: Floats
    """(U,): mean share of a liked video that is watched, in (0, 1)."""
    topics: Floats
    """(N, T), rows sum to 1."""
    quality: Floats
    """(N,): added to the logit of a click."""
    popularity: Floats
    """(N,): weight with which the logging policy shows the video."""
    duration: Floats
    """(N,): seconds."""
    released: Ints
    """(N,): day from which the video can be shown."""
    next_episode: Ints
    """(N,): the item that follows in its series, -1 for none."""
    follow_on: Floats
    """(T, T): how much a click on a topic inclines to another, in [0, 1]."""

    def affinity(self, users: Ints, items: Ints, day: int | Ints) -> Floats:
        """How well the items' topics meet the users' tastes on that day, in [0, 1]."""
        users, items = np.asarray(users), np.asarray(items)
        era = (np.asarray(day) >= self.shift_day).astype(np.int64)
        taste = self.tastes[era, users]
        met: Floats = np.einsum("...t,...t->...", taste, self.topics[items])
        return met

    def click_probability(
        self, users: Ints, items: Ints, day: int | Ints, previous: Ints | None = None
    ) -> Floats:
        """Chance of a click, given the item clicked before (-1 or None: none, no inclination)."""
        users, items = np.asarray(users), np.asarray(items)
        logit = -2.9 + 6.0 * np.sqrt(self.affinity(users, items, day)) + self.quality[items]
        if previous is not None:
            logit = logit + self.inclination(items, np.asarray(previous))
        chance: Floats = 1.0 / (1.0 + np.exp(-logit))
        return chance

    def inclination(self, items: Ints, previous: Ints) -> Floats:
        """What the click before adds to the logit."""
        seen = previous >= 0
        before = np.where(seen, previous, 0)
        follows = np.einsum(
            "...t,...t->...", self.topics[before] @ self.follow_on, self.topics[items]
        )
        episode = self.next_episode[before] == items
        added: Floats = np.where(seen, 1.2 * follows + 1.8 * episode, 0.0)
        return added

    def expected_watch_time(
        self, users: Ints, items: Ints, day: int | Ints, previous: Ints | None = None
    ) -> Floats:
        """Expected seconds watched if the item is shown: chance of a click times seconds then."""
        chance = self.click_probability(users, items, day, previous)
        seconds: Floats = chance * self.watched_share(users, items, day) * self.duration[items]
        return seconds

    def watched_share(self, users: Ints, items: Ints, day: int | Ints) -> Floats:
        """Mean share of the duration that is watched after a click, in (0, 1)."""
        liking = np.sqrt(self.affinity(users, items, day))
        share: Floats = np.clip(self.patience[users] * (0.4 + 0.9 * liking), 0.02, 0.98)
        return share


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
    log = _Logger(config, truth, rng).run(_events_per_day(config, users, rng))
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


class _Logger:
    """Shows videos to users, day by day and slot by slot, and writes down what they do."""

    def __init__(
        self, config: GeneratorConfig, truth: GroundTruth, rng: np.random.Generator
    ) -> None:
        self._truth = truth
        self._rng = rng
        self._n_topics = config.n_topics
        self._shown = np.zeros((config.n_users, config.n_items), dtype=np.bool_)
        self._previous = np.full(config.n_users, -1, dtype=np.int64)
        self._parts: list[dict[str, npt.NDArray[np.generic]]] = []

    def run(self, events: Ints) -> pa.Table:
        """Go through all days; ``events`` (days, U) says how much is shown to whom."""
        for day, todays in enumerate(events):
            self._open_day(day)
            begin = self._rng.integers(7 * 3600, 20 * 3600, size=len(todays))
            clock = START + day * DAY + begin
            for slot in range(int(todays.max(initial=0))):
                users = np.flatnonzero(todays > slot)
                clock[users] += self._show(users, day, clock[users])
        names = self._parts[0] if self._parts else {}
        return pa.table({name: _together([p[name] for p in self._parts], name) for name in names})

    def _open_day(self, day: int) -> None:
        """What the policy may show today: weights over released videos, in all and by topic."""
        truth = self._truth
        weight = truth.popularity * (truth.released <= day)
        # New videos get a push for three days.
        weight = weight * np.where((truth.released > 0) & (day - truth.released < 3), 3.0, 1.0)
        self._popular = np.cumsum(weight) / weight.sum()
        self._uniform = np.cumsum(weight > 0) / (weight > 0).sum()
        by_topic = np.cumsum(truth.topics.T * np.sqrt(weight), axis=1) + 1e-12
        # One ascending array over all topics: topic t covers (t, t + 1].
        steps = by_topic / by_topic[:, -1:] + np.arange(self._n_topics)[:, None]
        self._by_topic = steps.ravel()
        era = int(day >= truth.shift_day)
        self._taste = np.cumsum(truth.tastes[era], axis=1)

    def _show(self, users: Ints, day: int, clock: Ints) -> Ints:
        """One exposure to each of the users; returns the seconds until the next."""
        items = self._choose(users)
        for _ in range(2):
            again = self._shown[users, items] | (self._truth.released[items] > day)
            items[again] = self._choose(users[again], episodes=False)
        new = ~self._shown[users, items] & (self._truth.released[items] <= day)
        self._respond(users[new], items[new], day, clock[new])
        return self._rng.integers(40, 240, size=len(users))

    def _choose(self, users: Ints, *, episodes: bool = True) -> Ints:
        """The mixed policy: 28 % popular, 55 % personal, 5 % next episode, 12 % random."""
        n, rng = len(users), self._rng
        n_items = len(self._popular)
        kind, place = rng.random(n), rng.random(n)
        popular = np.searchsorted(self._popular, place)
        uniform = np.searchsorted(self._uniform, place)
        topic = (
            (self._taste[users] < rng.random(n)[:, None]).sum(axis=1).clip(max=self._n_topics - 1)
        )
        personal = np.searchsorted(self._by_topic, topic + place) - topic * n_items
        items = np.where(kind < 0.28, popular, np.where(kind < 0.88, personal, uniform))
        if episodes:
            before = self._previous[users]
            episode = np.where(before >= 0, self._truth.next_episode[before], -1)
            items = np.where((kind >= 0.83) & (kind < 0.88) & (episode >= 0), episode, items)
        return items.clip(0, n_items - 1).astype(np.int64)

    def _respond(self, users: Ints, items: Ints, day: int, clock: Ints) -> None:
        truth, rng = self._truth, self._rng
        n = len(users)
        self._shown[users, items] = True
        chance = truth.click_probability(users, items, day, self._previous[users])
        click = rng.random(n) < chance
        mean = truth.watched_share(users, items, day)
        share = rng.beta(4 * mean, 4 * (1 - mean))
        duration = truth.duration[items]
        watched = np.round(np.where(click, share * duration, 0.0), 1)
        long_view = click & (watched >= np.minimum(18.0, 0.9 * duration))
        liking = np.sqrt(truth.affinity(users, items, day))
        like = click & (rng.random(n) < 0.25 * share * liking)
        self._previous[users[click]] = items[click]
        self._parts.append(
            {
                "user_id": users,
                "item_id": items,
                "timestamp": clock,
                "click": click,
                "long_view": long_view,
                "like": like,
                "follow": click & (rng.random(n) < np.where(like, 0.12, 0.004)),
                "comment": click & (rng.random(n) < np.where(like, 0.08, 0.006)),
                "watch_time": watched,
                "duration": duration,
                "hour": clock % DAY // 3600,
            }
        )


def _together(parts: list[npt.NDArray[np.generic]], name: str) -> pa.Array:
    column = np.concatenate(parts)
    if name in ("user_id", "item_id"):
        return pc.binary_join_element_wise(name[0], pa.array(column).cast(pa.string()), "")
    if name == "timestamp":
        return pa.array(column)
    if name == "hour":
        return pa.array(column).cast(pa.string())
    return pa.array(column.astype(np.float32))


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
