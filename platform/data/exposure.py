"""How a generated platform fills its log: what the old policy shows, and what users then do.

Works day by day and slot by slot, for all users of a slot at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agenticrs.platform.data.ground_truth import DAY, START, GroundTruth, Ints


class LoggingPolicy:
    """Shows videos to users, day by day and slot by slot, and writes down what they do."""

    def __init__(self, truth: GroundTruth, rng: np.random.Generator) -> None:
        n_users, n_items = len(truth.patience), len(truth.topics)
        self._truth = truth
        self._rng = rng
        self._n_topics = truth.topics.shape[1]
        self._shown = np.zeros((n_users, n_items), dtype=np.bool_)
        self._previous = np.full(n_users, -1, dtype=np.int64)
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
