"""Held-out users left to themselves from the cut of their log on: do they stay, do they return?

They meet the items of their later halves one after another, then random ones, and every item that
they reach is an event as the log has it: also where it holds only what was taken, because what was
offered beside it is not known. So leaving and returning are tried, and not taking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.simulation.logbook import Logbook
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.simulate import Rules, simulate
from agenticrs.agents.simulation.world import Study, World

_MOST_EVENTS = 500
"""Of one visit."""

Counts = tuple[Tensor, Tensor]
"""Users (n,), and how many of something, (n,) float32."""


@dataclass(frozen=True)
class FreeRun:
    """Events of each visit and visits of each user: real, simulated, and of other users."""

    lengths: tuple[Counts, Counts, Counts]
    visits: tuple[Counts, Counts, Counts]


def free_run(study: Study, real: Logbook, seed: int, days: int) -> FreeRun:
    """Let the users of ``real`` live for some days, from the day of their first event in it.

    Users whom the log watched for fewer days are left out. The naive third are real visits of those
    who taught, dealt out at random.
    """
    now = _counted(_watched(real, study, days), days)
    taught = study.later.take(study.group[study.later.user] == 0)
    other = _counted(_watched(taught, study, days), days)
    log = _watched(real, study, days)
    users, first = _first_rows(log)
    population = replace(
        Population.of(_feed(study), users), tired=log.place[first].to(torch.float32)
    )
    rules = Rules(page_size=1, most_pages=_MOST_EVENTS)
    shelf = _Shelf(log, len(study.persona), len(study.items), seed)
    outcome = simulate(population, shelf, days, seed, rules=rules, keep_log=True)
    if outcome.log is None:
        raise RuntimeError("a simulation that keeps its log has none")
    visit = outcome.log.row * days + outcome.log.day
    sizes = torch.bincount(visit, minlength=len(users) * days)
    came = sizes.nonzero()[:, 0]
    lengths = (users[came // days], sizes[came].to(torch.float32))
    visits = (users, outcome.signals["visits"].to(torch.float32))
    return FreeRun((now[0], lengths, other[0]), (now[1], visits, other[1]))


class _Shelf:
    """Puts out each user's items in order, then random ones."""

    def __init__(self, log: Logbook, n_users: int, n_items: int, seed: int) -> None:
        counts = torch.bincount(log.user, minlength=n_users)
        self._items, self._n_items = log.item, n_items
        self._end = counts.cumsum(0)
        self._next = self._end - counts
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, users: UserBatch, k: int) -> Tensor:
        found = torch.randint(self._n_items, (len(users), k), generator=self._generator)
        place = self._next[users.users][:, None] + torch.arange(k)
        there = place < self._end[users.users][:, None]
        wanted = self._items[place.clamp(max=max(0, len(self._items) - 1))]
        self._next[users.users] += k
        return torch.where(there, wanted, found)


def _watched(log: Logbook, study: Study, days: int) -> Logbook:
    """The events of users whom the log watched long enough, in their first ``days`` days."""
    users, rows = _first_rows(log)
    end = max(int(study.later.day.max()), int(study.known.day.max()) if len(study.known) else 0)
    begin = torch.zeros(len(study.persona), dtype=torch.int64)
    begin[users] = log.day[rows]
    since = log.day - begin[log.user]
    enough = (end - begin + 1 >= days)[log.user]
    chosen = log.take(enough & (since < days))
    return replace(chosen, day=chosen.day - begin[chosen.user])


def _first_rows(log: Logbook) -> tuple[Tensor, Tensor]:
    users, counts = torch.unique_consecutive(log.user, return_counts=True)
    return users, counts.cumsum(0) - counts


def _counted(log: Logbook, days: int) -> tuple[Counts, Counts]:
    users, row = torch.unique(log.user, return_inverse=True)
    sizes = torch.bincount(row * days + log.day, minlength=len(users) * days)
    came = sizes.nonzero()[:, 0]
    visits = (sizes.view(-1, days) > 0).sum(1).to(torch.float32)
    return (users[came // days], sizes[came].to(torch.float32)), (users, visits)


def _feed(study: Study) -> World:
    """The study's world as it was at the cut, where whatever is reached is an event."""
    world, n = study.world, len(study.persona)
    signals = replace(world.signals, shown=True)
    empty = torch.zeros(0, dtype=torch.int64)
    return replace(
        world,
        signals=signals,
        response=replace(world.response, signals=signals),
        items=study.items,
        persona=study.persona,
        histories=UserBatch(torch.arange(n), torch.zeros(n + 1, dtype=torch.int64), empty),
    )
