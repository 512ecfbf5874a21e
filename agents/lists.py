"""Rules that every list of candidates must keep, applied to all users at once.

Nothing that agents put out is trusted: what a list may hold is decided here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.platform.errors import AgentError

_MOST_SPREAD = 32
"""Pairs of users and items, for each that is looked at, up to which every pair has a mark; beyond,
histories are sorted."""


def allowed(items: Tensor, users: UserBatch, n_items: int) -> Tensor:
    """Which entries may stay, (B, K) bool: in the catalogue, not in the history, not repeated."""
    valid = (items >= 0) & (items < n_items)
    return valid & ~_in_history(items, users, n_items) & ~repeated(items)


def repeated(items: Tensor) -> Tensor:
    """Entries that stand earlier in the same row already, (B, K) bool; pads count too."""
    order = items.argsort(dim=1, stable=True)
    ordered = items.gather(1, order)
    again = torch.zeros_like(items, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(again).scatter_(1, order, again)


def compact(candidates: Candidates, keep: Tensor) -> Candidates:
    """The entries of ``keep`` (B, K) moved to the front in their order; the rest becomes pads."""
    order = (~keep).to(torch.int8).argsort(dim=1, stable=True)
    kept = keep.gather(1, order)
    return Candidates(
        candidates.items.gather(1, order).masked_fill(~kept, -1),
        candidates.scores.gather(1, order).masked_fill(~kept, -torch.inf),
    )


def widen(candidates: Candidates, k: int) -> Candidates:
    """Exactly ``k`` columns: cut, or padded with -1 and -inf."""
    missing = k - candidates.items.shape[1]
    if missing <= 0:
        return candidates.top(k)
    pad = Candidates.empty(len(candidates.items), missing, candidates.items.device)
    return Candidates(
        torch.cat([candidates.items, pad.items], 1),
        torch.cat([candidates.scores, pad.scores.to(candidates.scores.dtype)], 1),
    )


def check(answer: object, n_users: int, n_items: int) -> Candidates:
    """The answer itself when it is a sound list; AgentError says what is wrong with it.

    Refused: another type, another number of users, items outside the catalogue, an item whose
    score is NaN or infinite.
    """
    if not isinstance(answer, Candidates):
        raise AgentError(f"put out {type(answer).__name__} where candidates were expected")
    items, scores = answer.items, answer.scores
    if items.shape != scores.shape or items.ndim != 2 or len(items) != n_users:
        raise AgentError(
            f"put out items {tuple(items.shape)} and scores {tuple(scores.shape)} "
            f"for {n_users} users"
        )
    if items.numel() and not -1 <= int(items.min()) <= int(items.max()) < n_items:
        raise AgentError(f"put out an item outside the catalogue of {n_items}")
    if bool((~torch.isfinite(scores) & (items >= 0)).any()):
        raise AgentError("put out scores that are NaN or infinite")
    return answer


def _in_history(items: Tensor, users: UserBatch, n_items: int) -> Tensor:
    rows, seen = users.rows, users.items
    known = seen < n_items
    if not bool(known.all()):
        rows, seen = rows[known], seen[known]
    if not len(seen):
        return torch.zeros_like(items, dtype=torch.bool)
    real = (items >= 0) & (items < n_items)
    first = torch.arange(len(users), device=items.device)[:, None] * n_items
    keys, wanted = rows * n_items + seen, first + items.clamp(0, n_items - 1)
    cells = len(users) * n_items
    if cells <= _MOST_SPREAD * (len(keys) + wanted.numel()):
        # A third of the time of sorting and searching.
        marks = torch.zeros(cells, dtype=torch.bool, device=items.device)
        marks[keys] = True
        return marks[wanted] & real
    keys = keys.sort().values
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return (keys[place] == wanted) & real
