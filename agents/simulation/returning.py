"""Whether users come back another day: a chance for every day since the last visit.

A logistic model of the day's hazard (Singer & Willett 1993, discrete-time survival), fitted to the
days on which users came and did not. Users who had not come back when the log ended count for the
days that they were watched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.simulation.descent import minimise
from agenticrs.agents.simulation.logbook import Logbook
from agenticrs.agents.simulation.persona import Persona
from agenticrs.agents.simulation.priors import Priors

_LONGEST = 60
"""Days after a visit that are looked at."""
_PENALTY = 1e-3


@dataclass(frozen=True)
class Returning:
    """Weights of: one, log of the days since, one day since, mood, habit, events of the visit."""

    weights: Tensor

    @staticmethod
    def assumed(priors: Priors) -> Returning:
        """Of a log without times: the same chance every day, moved by the mood alone."""
        centre = priors.back - priors.mood_brings_back * 0.5
        return Returning(torch.tensor([centre, 0.0, 0.0, priors.mood_brings_back, 0.0, 0.0]))

    @staticmethod
    def fit(visits: EndedVisits, persona: Persona, end: int) -> Returning:
        """Learn from visits, in order of user and day; ``end`` is the last day of the log."""
        again = torch.zeros(len(visits.user), dtype=torch.bool)
        again[:-1] = visits.user[1:] == visits.user[:-1]
        until = torch.full_like(visits.day, end)
        until[:-1] = torch.where(again[:-1], visits.day[1:], until[:-1])
        gap = (until - visits.day).clamp(max=_LONGEST)
        row = torch.repeat_interleave(torch.arange(len(gap)), gap)
        since = torch.arange(len(row)) - (torch.cumsum(gap, 0) - gap)[row] + 1
        came = again[row] & (since == (until - visits.day)[row])
        habit = persona.often[visits.user[row]]
        rows = _rows(since, visits.mood[row], habit, visits.events[row])
        return Returning(_logistic(rows, came.to(torch.float32)))

    def chance(self, since: Tensor, mood: Tensor, often: Tensor, events: Tensor) -> Tensor:
        """Chance to come today for users who were here ``since`` days ago, (n,)."""
        return (_rows(since, mood, often, events) @ self.weights).sigmoid()


@dataclass(frozen=True)
class EndedVisits:
    """Visits by user and day: the mood in which each ended, and its number of events."""

    user: Tensor
    day: Tensor
    mood: Tensor
    events: Tensor

    @staticmethod
    def of(log: Logbook, mood: Tensor) -> EndedVisits:
        """Of a log; ``mood`` (n,) is the user's after each event."""
        ended = log.last
        events = (log.place[ended] + 1).to(torch.float32)
        return EndedVisits(log.user[ended], log.day[ended], mood[ended], events)


def _rows(since: Tensor, mood: Tensor, often: Tensor, events: Tensor) -> Tensor:
    days = since.to(torch.float32)
    columns = [torch.ones_like(days), days.log(), (days == 1).to(torch.float32), mood, often]
    return torch.stack([*columns, events.log1p()], 1)


def _logistic(rows: Tensor, came: Tensor) -> Tensor:
    weights = torch.zeros(rows.shape[1], requires_grad=True)

    def loss() -> Tensor:
        misfit = functional.binary_cross_entropy_with_logits(rows @ weights, came)
        return misfit + _PENALTY * weights[1:].square().sum()

    if len(rows):
        minimise(loss, [weights])
    return weights.detach()
