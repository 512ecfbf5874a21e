"""What is true of a generated platform: who likes what on which day.

Expectations only; nothing here is drawn at random or written to a log.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

START = 1_735_689_600
"""Midnight of 2025-01-01 UTC: day 0 of every generated platform."""
DAY = 86_400


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
