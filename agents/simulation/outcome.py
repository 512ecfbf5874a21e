"""What came of a simulation: one figure for each user and signal, and the events if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from agenticrs.agents.simulation.page import Reading
from agenticrs.agents.simulation.population import Population


@dataclass(frozen=True)
class Events:
    """Every event of a simulation in the order in which it happened, (E,) each.

    ``row`` is the user's row in the population; the rest as in ``Reading``.
    """

    row: Tensor
    day: Tensor
    item: Tensor
    level: Tensor
    amount: Tensor
    seconds: Tensor
    satisfaction: Tensor
    positive: Tensor
    reactions: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def by_user(self) -> Events:
        """The same events, user by user."""
        order = torch.argsort(self.row, stable=True)
        return Events(**{part.name: getattr(self, part.name)[order] for part in fields(self)})


@dataclass(frozen=True)
class Outcome:
    """Outer signals of N users, (N,) float64, rows as in the population.

    =============== ===================================================================
    watch_time      seconds watched; items taken where the log knows no seconds
    satisfaction    mean over the user's events, in [0, 1]; 0 without any
    enjoyment       sum over the user's events
    later_enjoyment the same on the days after the first: what the user still is worth then
    events, taken   what a log would have rows of, and those that count as positive
    seen, pages     items that were looked at, and pages
    visits          days on which the user came
    empty_visits    those of them on which the user took nothing
    retention       share of the days after the first on which the user came
    =============== ===================================================================

    and the number of times of each reaction. ``active`` (days,): users who came on each day.
    """

    signals: Mapping[str, Tensor]
    active: Tensor
    log: Events | None = None

    def mean(self, signal: str) -> float:
        """Mean over users."""
        return float(self.signals[signal].mean())


class Tally:
    """Adds up what happens."""

    def __init__(self, population: Population, *, keep_log: bool) -> None:
        self._signals = population.world.signals
        self._sums = {
            name: torch.zeros(len(population), dtype=torch.float64)
            for name in (
                "seconds",
                "enjoyment",
                "later_enjoyment",
                "events",
                "taken",
                "seen",
                "pages",
                "visits",
                "empty_visits",
            )
        }
        self._sums |= {name: self._sums["events"].clone() for name in self._signals.reactions}
        self._taken_before = self._sums["taken"].clone()
        self._active: list[int] = []
        self._log: list[Events] | None = [] if keep_log else None

    def add(self, rows: Tensor, day: int, shown: Tensor, reading: Reading) -> None:
        """A page of the users at ``rows``."""
        found = {
            "seconds": reading.seconds.sum(1),
            "enjoyment": reading.satisfaction.sum(1),
            "later_enjoyment": reading.satisfaction.sum(1) * (day > 0),
            "events": reading.event.sum(1),
            "taken": reading.positive.sum(1),
            "seen": reading.seen.sum(1),
            "pages": torch.ones(len(rows)),
        }
        for place, name in enumerate(self._signals.reactions):
            found[name] = reading.reactions[..., place].sum(1)
        for name, values in found.items():
            self._sums[name].index_add_(0, rows, values.to(torch.float64))
        if self._log is not None:
            self._log.append(_events(rows, day, shown, reading))

    def close_day(self, rows: Tensor, day: int) -> None:
        """The users at ``rows`` came that day."""
        taken = self._sums["taken"][rows]
        self._sums["visits"][rows] += 1
        self._sums["empty_visits"][rows] += (taken == self._taken_before[rows]).to(torch.float64)
        self._taken_before[rows] = taken
        self._active.append(len(rows))

    def outcome(self, days: int) -> Outcome:
        """What came of it all."""
        sums = self._sums
        signals = {
            "watch_time": sums["seconds"]
            if self._signals.measure == "watch_ratio"
            else sums["taken"],
            "satisfaction": sums["enjoyment"] / sums["events"].clamp(min=1),
            "retention": (sums["visits"] - 1).clamp(min=0) / max(days - 1, 1),
            **{name: values for name, values in sums.items() if name != "seconds"},
        }
        log = None
        if self._log is not None:
            names = [part.name for part in fields(Events)]
            log = Events(**{n: torch.cat([getattr(e, n) for e in self._log]) for n in names})
        return Outcome(signals, torch.tensor(self._active), log)


def _events(rows: Tensor, day: int, shown: Tensor, reading: Reading) -> Events:
    event = reading.event
    row = rows[:, None].expand_as(shown)[event]
    return Events(
        row=row,
        day=torch.full_like(row, day),
        item=shown[event],
        level=reading.level[event],
        amount=reading.amount[event],
        seconds=reading.seconds[event],
        satisfaction=reading.satisfaction[event],
        positive=reading.positive[event],
        reactions=reading.reactions[event],
    )
