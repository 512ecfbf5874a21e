"""A world fitted to a log: its items, and how its users respond, leave and come back.

Each user's events are cut in two. The earlier half says who the user is and what items are like;
the later half says how such users respond. Users are in three groups by a hash of their index:
six tenths teach the response, two tenths calibrate it, and the last two tenths are never learnt
from: fidelity is measured on them (their earlier halves count among what is known of items).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.simulation.items import Items
from agenticrs.agents.simulation.logbook import Logbook, earlier_half
from agenticrs.agents.simulation.luck import keys, uniform
from agenticrs.agents.simulation.mind import FEATURES
from agenticrs.agents.simulation.persona import Persona
from agenticrs.agents.simulation.priors import Priors
from agenticrs.agents.simulation.replay import Moment, replay
from agenticrs.agents.simulation.response import Examples, Response
from agenticrs.agents.simulation.returning import EndedVisits, Returning
from agenticrs.agents.simulation.signals import Signals
from agenticrs.agents.training_data import histories, tensor
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.errors import DataError

_TEACHING, _CALIBRATING = 0.6, 0.8
_MOST = 60
"""Events of a user that teach: those with thousands would be half of all."""
_MOST_MOODS = 400


@dataclass(frozen=True)
class World:
    """What simulated users live in, and the users of the log as they were at its end.

    ``persona`` and ``histories`` have a row for each user of the dataset. ``mood`` is the mean
    satisfaction, in which everybody starts. ``assumed`` names what is a prior and was not fitted.
    """

    signals: Signals
    items: Items
    response: Response
    returning: Returning
    priors: Priors
    mood: float
    persona: Persona
    histories: UserBatch
    assumed: tuple[str, ...]

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.items)


@dataclass(frozen=True)
class Study:
    """How a world was fitted: what was known of users and items, and what was held out.

    ``world`` knows the whole log. ``items`` and ``persona`` come from earlier halves alone;
    ``later`` are the later halves of all users, ``group`` (n_users,) is 0 for those who taught, 1
    for those who calibrated, 2 for those who are held out.
    """

    world: World
    items: Items
    persona: Persona
    known: Logbook
    later: Logbook
    group: Tensor

    def heldout(self) -> Logbook:
        """The later halves of users that nothing was learnt from."""
        return self.later.take(self.group[self.later.user] == 2)

    def at_cut(self) -> World:
        """The world as it was when the later halves began."""
        taken = self.known.take(self.known.positive)
        counts = torch.bincount(taken.user, minlength=len(self.persona))
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        histories = UserBatch(torch.arange(len(counts)), offsets, taken.item)
        return replace(self.world, items=self.items, persona=self.persona, histories=histories)


def fit_world(dataset: Dataset, seed: int, priors: Priors | None = None) -> World:
    """The world of a log (all interactions of the dataset: hold out first)."""
    return study(dataset, seed, priors).world


def study(dataset: Dataset, seed: int, priors: Priors | None = None) -> Study:
    """Fit a world, and keep what is needed to measure how good it is.

    Raises DataError when there are no users to learn from.
    """
    priors = priors or Priors()
    rows, group = dataset.interactions, groups(dataset.n_users)
    user = tensor(rows.user, "cpu", torch.int64)
    early = earlier_half(user)
    open_to_all = early | (group[user] != 2)
    signals = Signals.of(replace(dataset, interactions=rows.take(open_to_all.numpy())))
    log = Logbook.of(dataset, signals)
    known, later = log.take(early), log.take(~early)
    items = Items.of(dataset, known)
    persona = Persona.of(known, items, dataset.n_users, priors)
    mood = float(log.satisfaction[open_to_all].mean())
    lessons = [
        _lesson(later.take(group[later.user] == which), persona, items, priors, mood, signals, seed)
        for which in (0, 1)
    ]
    if not len(lessons[0].examples.features):
        raise DataError(
            f"dataset {dataset.name!r} has no users to learn responses from",
            hint="a world needs a log of some hundred users",
        )
    returning = Returning.assumed(priors)
    if signals.timed:
        returning = Returning.fit(lessons[0].visits, persona, int(log.day.max()))
    whole = Items.of(dataset, log)
    world = World(
        signals=signals,
        items=whole,
        response=Response.fit(lessons[0].examples, lessons[1].examples, signals, seed),
        returning=returning,
        priors=priors,
        mood=mood,
        persona=Persona.of(log, whole, dataset.n_users, priors),
        histories=histories(
            dataset.interactions.take(log.positive.numpy()),
            dataset.n_users,
            timed=dataset.has_times,
        ),
        assumed=assumed(signals),
    )
    return Study(world, items, persona, known, later, group)


def groups(n_users: int) -> Tensor:
    """0 teaches, 1 calibrates, 2 is held out, (n_users,) int64; the same in every world."""
    chance = uniform(keys(0, torch.arange(n_users)), 0)
    return (chance >= _TEACHING).to(torch.int64) + (chance >= _CALIBRATING).to(torch.int64)


def assumed(signals: Signals) -> tuple[str, ...]:
    """What a log with these signals cannot tell, in words."""
    found = ["how fast moods change", "which satisfaction a reaction means"]
    if not signals.shown:
        found += ["how many items are seen for one that is taken", "attention to a page's places"]
        found += ["leaving after a page with nothing to take"]
    if not signals.timed:
        found += ["leaving", "fatigue", "patience", "coming back"]
    return tuple(found)


def _others(
    log: Logbook, n: int, items: Items, priors: Priors, generator: torch.Generator
) -> Tensor:
    """Items that users could have seen and not taken, (n,): some popular ones, some of any kind."""
    even = torch.randint(len(items), (n,), generator=generator)
    popular = log.item[torch.randint(len(log), (n,), generator=generator)]
    chosen = torch.rand(n, generator=generator) < priors.popular_share
    return torch.where(chosen, popular, even)


@dataclass(frozen=True)
class _Lesson:
    examples: Examples
    visits: EndedVisits


def _lesson(
    log: Logbook,
    persona: Persona,
    items: Items,
    priors: Priors,
    mood: float,
    signals: Signals,
    seed: int,
) -> _Lesson:
    """Go through the log with its users, and write down what they faced and did."""
    faced: list[Tensor] = []
    refused: list[Tensor] = []
    rows: list[Tensor] = []
    after = torch.full((len(log),), torch.nan)
    per_row = 0 if signals.shown else priors.shown_per_taken - 1
    generator = torch.Generator().manual_seed(seed)

    def live(moment: Moment) -> Tensor:
        satisfaction = log.satisfaction[moment.rows]
        if len(rows) < _MOST:
            rows.append(moment.rows)
            faced.append(moment.facing(log.item[moment.rows]))
            for _ in range(per_row):
                refused.append(
                    moment.facing(_others(log, len(moment.rows), items, priors, generator))
                )
        after[moment.rows] = torch.lerp(
            moment.mind.mood, satisfaction, torch.tensor(priors.mood_rate)
        )
        return satisfaction

    replay(
        log, persona, items, priors, live, mood=mood, most=_MOST_MOODS if signals.timed else _MOST
    )
    at = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.int64)
    empty = torch.zeros(0, len(FEATURES))
    ended = log.take(~after.isnan())
    return _Lesson(
        Examples(
            features=torch.cat(faced) if faced else empty,
            refused=torch.cat(refused) if refused else empty,
            level=log.level[at],
            amount=log.amount[at],
            seconds=log.seconds[at],
            reactions=log.reactions[at],
            leaves=log.last[at].to(torch.float32),
        ),
        EndedVisits.of(ended, after[~after.isnan()]),
    )
