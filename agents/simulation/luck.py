"""Chance that belongs to who meets what: a number for each (seed, user, item, day, question).

Nothing is drawn in turn. So a run does not depend on how users are batched, and two recommenders
that show the same item to the same user on the same day get the same answer: what differs between
two runs is what was shown, which is what a paired test wants to see.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 2^64 / golden ratio, as int64
_FIRST = -4658895280553007687  # the multipliers of splitmix64 (Steele, Lea & Flood 2014)
_SECOND = -7723592293110705685
_BITS = 24
"""As many as a float32 holds exactly."""


class Question(IntEnum):
    """What chance is asked for. ``REACTION`` is the first of as many as there are reactions."""

    NOTICES = 1
    TAKES = 2
    LEVEL = 3
    WITHIN_LEVEL = 4
    LEAVES = 5
    RETURNS = 6
    CHARACTER = 7
    GIVES_UP = 8
    REACTION = 16


def keys(seed: int, *parts: Tensor | int) -> Tensor:
    """Mix whole numbers, broadcast against each other, into keys (int64)."""
    key = torch.tensor(_int64(seed * 2 + 1), dtype=torch.int64)
    for part in parts:
        key = _mixed(key * _GOLDEN + torch.as_tensor(part, dtype=torch.int64))
    return key


def uniform(key: Tensor, question: int) -> Tensor:
    """A float32 in (0, 1) for each key and this question."""
    bits = _shifted(_mixed(key + _int64(question * _GOLDEN)), 64 - _BITS)
    drawn: Tensor = (bits.to(torch.float32) + 0.5) / 2**_BITS
    return drawn


def _int64(number: int) -> int:
    """The number as 64 bits with a sign, as tensors wrap it."""
    return (number + 2**63) % 2**64 - 2**63


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, by: int) -> Tensor:
    """Shift to the right without copying the sign."""
    return (x >> by) & ((1 << (64 - by)) - 1)
