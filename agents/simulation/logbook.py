"""A log as one event after another: who, what, on which day, and how it went."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from agenticrs.agents.simulation.signals import Signals
from agenticrs.agents.training_data import tensor
from agenticrs.platform.data.dataset import Dataset

_DAY = 86_400
_HOUR = 3_600
_HOURS = 2
"""Hours on either side that have a say in which hour is the quietest."""


@dataclass(frozen=True)
class Logbook:
    """Events in order of user and time; every tensor has one row an event, (n,) but for one.

    A user's events of one day are one *visit*; days begin at the hour around which the fewest
    events happen. Without times everything is one visit on day 0.
    """

    user: Tensor
    item: Tensor
    day: Tensor
    place: Tensor
    """Events of the same visit before this one."""
    last: Tensor
    """Whether the visit ends with it, bool."""
    amount: Tensor
    """Watch ratio, rating or 0 / 1; NaN where not known."""
    level: Tensor
    """Its level, -1 where not known."""
    reactions: Tensor
    """(n, R) of 0 and 1."""
    seconds: Tensor
    """Time watched, 0 where not known."""
    satisfaction: Tensor
    positive: Tensor

    @staticmethod
    def of(dataset: Dataset, signals: Signals) -> Logbook:
        """Read the dataset's interactions (all of them: hold out first)."""
        rows = dataset.interactions
        user = tensor(rows.user, "cpu", torch.int64)
        day = _days(tensor(rows.timestamp, "cpu", torch.int64), signals.timed)
        opens = _opens(user, day)
        amount, reactions = signals.amounts(dataset, rows), signals.reacted(rows)
        watched = rows.behaviours.get("watch_time")
        return Logbook(
            user=user,
            item=tensor(rows.item, "cpu", torch.int64),
            day=day,
            place=_place(opens),
            last=torch.cat([opens[1:], opens.new_ones(min(1, len(opens)))]),
            amount=amount,
            level=signals.level(amount),
            reactions=reactions,
            seconds=torch.zeros(len(user))
            if watched is None
            else tensor(watched, "cpu", torch.float32),
            satisfaction=signals.satisfaction(amount, reactions),
            positive=tensor(dataset.is_positive(rows), "cpu", torch.bool),
        )

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Tensor) -> Logbook:
        """The events at ``rows`` (indices or a mask); their places in visits stay as they were."""
        return Logbook(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})

    def rank(self) -> Tensor:
        """How many events of the same user come before each, (n,)."""
        return rank(self.user)


def rank(user: Tensor) -> Tensor:
    """How many rows of the same user come before each, (n,); ``user`` is in order."""
    return _place(_opens(user, torch.zeros_like(user)))


def earlier_half(user: Tensor) -> Tensor:
    """Mask (n,) of the first half of each user's rows (rounded down); ``user`` is in order."""
    return rank(user) < torch.bincount(user)[user] // 2


def _days(times: Tensor, timed: bool) -> Tensor:
    if not timed or not len(times):
        return torch.zeros_like(times)
    of_hour = torch.bincount(times // _HOUR % 24, minlength=24)
    around = sum(of_hour.roll(by) for by in range(-_HOURS, _HOURS + 1))
    quiet = int(torch.as_tensor(around).argmin())
    day = (times - quiet * _HOUR) // _DAY
    return day - day.min()


def _opens(user: Tensor, day: Tensor) -> Tensor:
    opens = torch.ones_like(user, dtype=torch.bool)
    opens[1:] = (user[1:] != user[:-1]) | (day[1:] != day[:-1])
    return opens


def _place(opens: Tensor) -> Tensor:
    """Distance of each row to the last one that opens."""
    here = torch.arange(len(opens))
    return here - torch.where(opens, here, 0).cummax(0).values if len(opens) else here
