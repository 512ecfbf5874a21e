"""Who sees what: users to arms by a salted hash, so that nobody has to remember it.

The same user and salt give the same arm, in every process and on every day. Another salt mixes
users anew: two experiments with salts of their own do not share their bad luck. The first arm grows
and shrinks by its border, so that raising its share moves nobody out of it: a canary stands first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agenticrs.platform.errors import DataError

Ids = Sequence[str] | npt.NDArray[np.str_] | npt.NDArray[np.integer]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53


def assign(ids: Ids, salt: str, shares: Sequence[float]) -> Tensor:
    """The arm of each user, (n,) int64 places in ``shares``, which sum to 1."""
    borders = np.cumsum(np.asarray(shares, np.float64))
    if not len(shares) or min(shares) < 0 or abs(borders[-1] - 1) > 1e-9:
        raise ValueError(f"shares must be at least 0 and sum to 1, got {list(shares)}")
    inner = torch.from_numpy(borders[:-1])
    return torch.searchsorted(inner, unit_interval(ids, salt), right=True)


def unit_interval(ids: Ids, salt: str) -> Tensor:
    """A number in [0, 1) for each user, (n,) float64, uniform over users and salts.

    Ids are texts or whole numbers; the text "7" and the number 7 are different users. Raises
    DataError for other ids.
    """
    given = np.asarray(ids)
    if not given.size:
        return torch.zeros(0, dtype=torch.float64)
    key = np.frombuffer(hashlib.blake2b(salt.encode(), digest_size=8).digest(), "<u8")
    state = np.repeat(key.astype(np.uint64), len(given))
    if given.dtype.kind == "U":
        state = _read(state, given)
    elif given.dtype.kind in "iu":
        state = _mixed(state ^ _mixed(given.astype(np.int64).view(np.uint64) + _GOLDEN))
    else:
        raise DataError(f"ids must be texts or whole numbers, got {given.dtype}")
    return torch.from_numpy((state >> np.uint64(11)).astype(np.float64) * _TO_UNIT)


def _read(state: npt.NDArray[np.uint64], texts: npt.NDArray[np.str_]) -> npt.NDArray[np.uint64]:
    """Take in one letter of all texts at a time; behind their end nothing changes."""
    width = texts.dtype.itemsize // 4
    native = np.ascontiguousarray(texts, texts.dtype.newbyteorder("="))
    letters = native.view(np.uint32).reshape(len(texts), width).astype(np.uint64)
    for letter in letters.T:
        state = np.where(letter > 0, _mixed(state ^ (letter + _GOLDEN)), state)
    return _mixed(state)


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014): every bit depends on all."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
