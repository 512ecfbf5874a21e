"""Who a joint reward is owed to: what one member adds to the others.

``value`` maps a coalition, the members that take part, to its reward: a number, or one for each
user, (U,), the same users for every coalition. It is asked once for each coalition. Credits are
linear in the rewards, so they too are known for each user, and the mean over users is the credit of
the mean reward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import torch
from torch import Tensor

Coalition = frozenset[str]
Value = Callable[[Coalition], Tensor | float]
Order = tuple[str, ...]

EXACT = 6
"""So many members have at most 64 coalitions: then all of them are looked at."""


@dataclass(frozen=True)
class Credit:
    """What is owed to one member.

    ``per_user`` is (U,) float64, (1,) where rewards are numbers. ``low`` and ``high`` enclose the
    mean that all orders would give, and are that mean when all of them count already. They say
    nothing of how much users differ: for that, resample ``per_user``.
    """

    per_user: Tensor
    low: float
    high: float

    @property
    def mean(self) -> float:
        """Mean over users."""
        return float(self.per_user.mean())


def leave_one_out(members: Sequence[str], value: Value) -> dict[str, Credit]:
    """What the whole loses without each member: v(all) - v(all but it).

    Two members that can stand in for each other both get nothing. The credits need not sum to what
    all are worth. Raises ValueError when a member is named twice.
    """
    known, everybody = _remembering(value), _everybody(members)
    return {one: _exact(known(everybody) - known(everybody - {one})) for one in members}


def shapley(
    members: Sequence[str], value: Value, *, pairs: int = 32, level: float = 0.95, seed: int
) -> dict[str, Credit]:
    """What each member adds on average over all orders in which they could join (Shapley 1953).

    The only division that hands out exactly v(all) - v(nobody), gives two members that always add
    the same the same and one that never adds anything nothing, and is linear in the reward. Up to
    ``EXACT`` members it is computed; for more of them ``pairs`` of orders are drawn
    (``sampled_shapley``). Raises ValueError when a member is named twice or there are fewer than
    two pairs to draw.
    """
    if len(members) <= EXACT:
        return exact_shapley(members, value)
    return sampled_shapley(antithetic_orders(members, pairs, seed=seed), value, level=level)


def exact_shapley(members: Sequence[str], value: Value) -> dict[str, Credit]:
    """Shapley values out of the rewards of all 2^n coalitions.

    The weight of what i adds to S is |S|! (n - |S| - 1)! / n!, the share of orders in which exactly
    S comes before i. Raises ValueError when a member is named twice.
    """
    known, everybody = _remembering(value), _everybody(members)
    n = len(members)
    found: dict[str, Credit] = {}
    for one in members:
        total = torch.zeros(1, dtype=torch.float64)
        for others in subsets(sorted(everybody - {one})):
            weight = 1 / (n * math.comb(n - 1, len(others)))
            total = total + weight * (known(others | {one}) - known(others))
        found[one] = _exact(total)
    return found


def sampled_shapley(
    orders: Sequence[Order], value: Value, *, level: float = 0.95
) -> dict[str, Credit]:
    """Shapley values out of some orders (Castro, Gomez & Tejada 2009), in pairs.

    ``orders`` are those of ``antithetic_orders``. Within every order the credits sum to v(all) -
    v(nobody), so they do in the mean. The interval is Student's, over the means of pairs, which
    are independent; those within a pair are not. Raises ValueError for fewer than two pairs or a
    level outside (0, 1).
    """
    if len(orders) < 4 or len(orders) % 2:
        raise ValueError(f"need two pairs of orders at least, got {len(orders)} orders")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    known = _remembering(value)
    added: dict[str, list[Tensor]] = {one: [] for one in orders[0]}
    for order in orders:
        before = known(frozenset())
        for one, coalition in zip(order, heads(order)[1:], strict=True):
            after = known(coalition)
            added[one].append(after - before)
            before = after
    return {one: _estimated(torch.stack(found), level) for one, found in added.items()}


def antithetic_orders(members: Sequence[str], pairs: int, *, seed: int) -> list[Order]:
    """``pairs`` random orders, each followed by its reverse: who came early comes late.

    What one adds mostly falls with the number of those who are there already, so the errors of
    the two partly cancel (Mitchell et al. 2022). More pairs with the same seed begin with the same
    orders. Raises ValueError when a member is named twice.
    """
    _everybody(members)
    generator = torch.Generator().manual_seed(seed)
    orders: list[Order] = []
    for _ in range(pairs):
        drawn = torch.randperm(len(members), generator=generator).tolist()
        order = tuple(members[place] for place in drawn)
        orders += [order, order[::-1]]
    return orders


def heads(order: Order) -> list[Coalition]:
    """The coalitions that form as members join in this order, from nobody to all, (n + 1)."""
    return [frozenset(order[:size]) for size in range(len(order) + 1)]


def subsets(members: Sequence[str]) -> Iterator[Coalition]:
    """All coalitions of these members, the small ones first, 2^n of them."""
    for size in range(len(members) + 1):
        for chosen in combinations(members, size):
            yield frozenset(chosen)


def _remembering(value: Value) -> Callable[[Coalition], Tensor]:
    found: dict[Coalition, Tensor] = {}

    def known(coalition: Coalition) -> Tensor:
        if coalition not in found:
            reward = torch.as_tensor(value(coalition), dtype=torch.float64)
            found[coalition] = reward.reshape(-1)
        return found[coalition]

    return known


def _everybody(members: Sequence[str]) -> Coalition:
    everybody = frozenset(members)
    if len(everybody) != len(members):
        raise ValueError(f"a member is named twice: {', '.join(sorted(members))}")
    return everybody


def _exact(per_user: Tensor) -> Credit:
    mean = float(per_user.mean())
    return Credit(per_user, mean, mean)


def _estimated(added: Tensor, level: float) -> Credit:
    """Out of what was added in each order, (orders, U)."""
    draws = added.mean(1).reshape(-1, 2).mean(1)
    error = float(draws.std()) / math.sqrt(len(draws))
    mean, reach = float(draws.mean()), error * _student(len(draws) - 1, level)
    return Credit(added.mean(0), mean - reach, mean + reach)


def _student(freedom: int, level: float) -> float:
    """Two-sided quantile of Student's t; closed forms for 1 and 2, then a series in 1 / freedom.

    Abramowitz & Stegun 1964, 26.7.5: within 1 % at levels up to 0.95.
    """
    p = 0.5 + level / 2
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))
