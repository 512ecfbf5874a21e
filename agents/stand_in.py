"""What stands in for an agent that is skipped, fails or is late, and how partial answers join."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.registry.spec import AgentSpec, Port


def stand_in(spec: AgentSpec, inputs: Sequence[Candidates], users: UserBatch) -> Candidates | Route:
    """A router's last segment for everybody; else the candidates as they came."""
    if spec.loop.output is Port.ROUTE:
        last = len(spec.segments) - 1
        device = users.users.device
        return Route(torch.full((len(users),), last, dtype=torch.int64, device=device))
    return as_they_came(inputs, users)


def as_they_came(inputs: Sequence[Candidates], users: UserBatch) -> Candidates:
    """For each user the first input that has anything; nothing where there are no inputs."""
    if not inputs:
        return Candidates.empty(len(users), 1, users.users.device)
    width = max(source.items.shape[1] for source in inputs)
    first = lists.widen(inputs[0], width)
    items, scores = first.items, first.scores
    for source in inputs[1:]:
        wide = lists.widen(source, width)
        nothing = (items < 0).all(1, keepdim=True)
        items = torch.where(nothing, wide.items, items)
        scores = torch.where(nothing, wide.scores, scores)
    return Candidates(items, scores)


def rows_of(inputs: Sequence[Candidates], rows: Tensor) -> list[Candidates]:
    """The lists of some users."""
    return [Candidates(source.items[rows], source.scores[rows]) for source in inputs]


def scattered(
    answer: Candidates | Route, rows: Tensor, inputs: Sequence[Candidates], users: UserBatch
) -> Candidates | Route:
    """The answer for some users as one for all: the others skip the node, and have no segment."""
    if isinstance(answer, Route):
        segment = torch.full((len(users),), -1, dtype=torch.int64, device=rows.device)
        return over(Route(segment), answer, rows)
    return over(as_they_came(inputs, users), answer, rows)


def over(whole: Candidates | Route, part: Candidates | Route, rows: Tensor) -> Candidates | Route:
    """``whole`` with ``part`` in its ``rows``: a copy, since inputs are other nodes' answers."""
    if isinstance(whole, Route) and isinstance(part, Route):
        segment = whole.segment.clone()
        segment[rows] = part.segment
        return Route(segment)
    if isinstance(whole, Route) or isinstance(part, Route):
        raise TypeError("a route and candidates do not join")
    width = max(part.items.shape[1], whole.items.shape[1])
    whole, part = lists.widen(whole, width), lists.widen(part, width)
    items, scores = whole.items.clone(), whole.scores.clone()
    items[rows], scores[rows] = part.items, part.scores.to(scores.dtype)
    return Candidates(items, scores)
