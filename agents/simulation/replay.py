"""Goes through a log event by event, all users side by side, while their minds change.

Whoever replays says how satisfied each event left its user: as logged, so that a response model can
learn, or as simulated, so that it can be compared with the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.agents.simulation.items import Items
from agenticrs.agents.simulation.logbook import Logbook
from agenticrs.agents.simulation.mind import Mind, features
from agenticrs.agents.simulation.persona import Persona
from agenticrs.agents.simulation.priors import Priors


@dataclass(frozen=True)
class Moment:
    """One event of each of n users: the rows of the log, and their minds right before it."""

    rows: Tensor
    persona: Persona
    mind: Mind
    items: Items

    def facing(self, shown: Tensor) -> Tensor:
        """What the response to the items ``shown`` (n,) would depend on, (n, F)."""
        vectors = self.items.vectors[shown]
        return features(self.persona, self.mind, self.items, shown, vectors)


Live = Callable[[Moment], Tensor]
"""How satisfied each of the moment's events leaves its user, (n,)."""


def replay(
    log: Logbook,
    persona: Persona,
    items: Items,
    priors: Priors,
    live: Live,
    *,
    mood: float,
    most: int,
) -> None:
    """Live through the first ``most`` events of each user of the log, in order.

    ``persona`` has a row for each user index. A visit that was under way when the log begins goes
    on: its users are as tired as their first event's place in it says.
    """
    users, counts = torch.unique_consecutive(log.user, return_counts=True)
    begin = torch.cumsum(counts, 0) - counts
    # The longest first, so that those who still have events are always the first ones.
    order = torch.argsort(counts, descending=True, stable=True)
    users, counts, begin = users[order], counts[order], begin[order]
    own = persona.take(users)
    minds = Mind.rested(own, mood)
    for step in range(min(most, int(counts.max()) if len(counts) else 0)):
        n = int((counts > step).sum())
        now = torch.arange(n)
        rows = begin[:n] + step
        mind = minds.take(now)
        mind.open_visit(log.place[rows] == 0)
        if step == 0:
            mind.place = log.place[rows].to(torch.float32)
        satisfaction = live(Moment(rows, own.take(now), mind, items))
        happened = torch.ones(n, dtype=torch.bool)
        mind.update(happened, satisfaction, items.vectors[log.item[rows]], priors)
        minds.put(now, mind)
