"""Who a user is: what stays from visit to visit, read off the user's earlier events."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.simulation.items import Items
from agenticrs.agents.simulation.logbook import Logbook
from agenticrs.agents.simulation.priors import Priors
from agenticrs.agents.simulation.traits import Traits

_PSEUDO = 5.0
"""Events of the average user that are added to each: who has few events is near the average."""


@dataclass(frozen=True)
class Persona:
    """Rows are users, (N, ...) float32. Whoever has no events has zeros: an average user.

    ``taste``: unit vector of the items that were taken; ``liking``: where in that space the user is
    more content than elsewhere; ``tags``: shares of genres. ``content``, ``keen``: mean
    satisfaction and share of positives, less those of everybody. ``activity``: log(1 + events).
    ``maverick``, ``diverse``: conformity and diversity of ``Traits``, less the average.
    ``patience``: log of events a visit, less the average. ``often``: logit of visiting on a day.
    ``recent`` and ``mood``: where the moving means of ``Mind`` stood at the end, mood less the
    average of the log.
    """

    taste: Tensor
    liking: Tensor
    tags: Tensor
    content: Tensor
    keen: Tensor
    activity: Tensor
    maverick: Tensor
    diverse: Tensor
    patience: Tensor
    often: Tensor
    recent: Tensor
    mood: Tensor

    @staticmethod
    def of(log: Logbook, items: Items, n_users: int, priors: Priors) -> Persona:
        """Read all users' personas off the log."""
        counts = torch.bincount(log.user, minlength=n_users).to(torch.float32)
        traits = Traits.of(log, items.tags, n_users)
        content = _own(log.satisfaction, log, counts)
        above = log.satisfaction - _mean(log.satisfaction)
        surprise = above - items.quality[log.item] - content[log.user]
        vectors = items.vectors[log.item]
        taken = log.positive.to(torch.float32)[:, None]
        days = _days(log, n_users)
        to_come = _to_come(log, counts)
        latest = priors.recent_rate * (1 - priors.recent_rate) ** to_come
        felt = priors.mood_rate * (1 - priors.mood_rate) ** to_come
        return Persona(
            taste=functional.normalize(_sum(vectors * taken, log.user, n_users), dim=1),
            liking=_sum(vectors * surprise[:, None], log.user, n_users) / (counts[:, None] + 1),
            tags=functional.normalize(
                _sum(items.tags[log.item] * taken, log.user, n_users), p=1, dim=1
            ),
            content=content,
            keen=_own(log.positive.to(torch.float32), log, counts),
            activity=counts.log1p(),
            maverick=_deviation(traits.conformity, counts),
            diverse=_deviation(traits.diversity, counts),
            patience=_patience(log, n_users),
            often=torch.logit((days.came + 1) / (days.watched + 3)),
            recent=_sum(vectors * latest[:, None], log.user, n_users),
            mood=torch.zeros(n_users).index_add_(0, log.user, felt * above),
        )

    def __len__(self) -> int:
        return len(self.taste)

    def take(self, rows: Tensor) -> Persona:
        """The users at ``rows`` ((n,) indices)."""
        return Persona(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})

    def with_taste_of(self, others: Persona, rows: Tensor) -> Persona:
        """The same users with the tastes of ``others`` (N,) at ``rows`` (N,) bool: a drift."""
        swapped = {
            name: torch.where(rows[:, None], getattr(others, name), getattr(self, name))
            for name in ("taste", "liking", "tags")
        }
        return replace(self, **swapped)


@dataclass(frozen=True)
class _Days:
    came: Tensor
    watched: Tensor


def _to_come(log: Logbook, counts: Tensor) -> Tensor:
    """How many events of the same user follow each, (n,) float32."""
    return counts[log.user] - 1 - log.rank()


def _days(log: Logbook, n_users: int) -> _Days:
    """On how many days each user came, and for how many days the user was watched."""
    first = torch.full((n_users,), 2**62).scatter_reduce(0, log.user, log.day, "amin")
    newest = torch.zeros(n_users, dtype=torch.int64).scatter_reduce(0, log.user, log.day, "amax")
    came = torch.zeros(n_users).index_add_(0, log.user, (log.place == 0).to(torch.float32))
    watched = (newest + 1 - first).clamp(min=0).to(torch.float32)
    return _Days(came, torch.maximum(watched, came))


def _patience(log: Logbook, n_users: int) -> Tensor:
    ended = log.last
    lengths = (log.place[ended] + 1).to(torch.float32).log()
    visits = torch.bincount(log.user[ended], minlength=n_users).to(torch.float32)
    above = torch.zeros(n_users).index_add_(0, log.user[ended], lengths - _mean(lengths))
    return above / (visits + 2)


def _own(values: Tensor, log: Logbook, counts: Tensor) -> Tensor:
    total = torch.zeros_like(counts).index_add_(0, log.user, values - _mean(values))
    return total / (counts + _PSEUDO)


def _deviation(trait: Tensor, counts: Tensor) -> Tensor:
    """The trait less its mean, pulled to 0 for users with few events."""
    known = ~trait.isnan()
    centred = torch.where(known, trait - _mean(trait[known]), 0.0)
    return centred * counts / (counts + _PSEUDO)


def _sum(values: Tensor, user: Tensor, n_users: int) -> Tensor:
    return torch.zeros(n_users, values.shape[1]).index_add_(0, user, values)


def _mean(values: Tensor) -> Tensor:
    return values.mean() if len(values) else torch.tensor(0.0)
