"""BPR's steps on a processor, one pair after another, compiled by numba.

A step of torch goes over each vector of a batch once for every product and sum: memory, not
arithmetic, is what it takes. Compiled, a pair's three vectors are read once and written once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@cache
def compiled() -> Callable[..., None]:
    """``learn``, a hundred times as fast. To load numba and compile takes a second or two, once.

    Sums may be reordered, so that they fit the processor's registers; NaN stays NaN.
    """
    import numba

    faster: Callable[..., None] = numba.njit(fastmath={"reassoc", "contract"}, nogil=True)(learn)
    return faster


def learn(
    users: Integers,
    positive: Integers,
    drawn: Integers,
    vectors: tuple[Floats, Floats],
    squares: tuple[Floats, Floats],
    rates: tuple[Floats, Floats],
    bias: Floats,
    learning_rate: np.float32,
    gains: Floats,
) -> None:
    """Go a step for each of n pairs: the steps that ``bpr.py`` goes for batches of one.

    Shapes: ``users``, ``positive`` and ``gains`` (n,), ``drawn`` (n, negatives); ``vectors``,
    ``squares`` (sums of errors squared) and ``rates`` (sums of the steps' rates) are of users and
    of items, ``bias`` of items. Writes each pair's gain before its step, and changes what is
    learnt, squares and rates in place.
    """
    of_users, of_items = vectors
    users_squares, items_squares = squares
    users_rates, items_rates = rates
    one = np.float32(1)
    for pair in range(len(users)):
        u, i, j = users[pair], positive[pair], drawn[pair, 0]
        user = of_users[u]
        if drawn.shape[1] > 1:
            best = -math.inf
            for other in drawn[pair]:
                score, vector = bias[other], of_items[other]
                for k in range(len(user)):
                    score += user[k] * vector[k]
                if score > best:
                    best, j = score, other
        better, worse = of_items[i], of_items[j]
        gain = bias[i] - bias[j]
        for k in range(len(user)):
            gain += user[k] * (better[k] - worse[k])
        gains[pair] = gain
        if i == j:  # drawn for a user that had nearly everything: nothing to tell apart
            continue
        error = one / (one + math.exp(gain))
        users_squares[u] += error * error
        items_squares[i] += error * error
        items_squares[j] += error * error
        rate_u = learning_rate / math.sqrt(users_squares[u])
        rate_i = learning_rate / math.sqrt(items_squares[i])
        rate_j = learning_rate / math.sqrt(items_squares[j])
        users_rates[u] += rate_u
        items_rates[i] += rate_i
        items_rates[j] += rate_j
        move_u, move_i, move_j = rate_u * error, rate_i * error, rate_j * error
        for k in range(len(user)):
            p, q, r = user[k], better[k], worse[k]
            user[k] = p + move_u * (q - r)
            better[k] = q + move_i * p
            worse[k] = r - move_j * p
        bias[i] += move_i
        bias[j] -= move_j
