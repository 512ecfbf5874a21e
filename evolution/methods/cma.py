"""CMA-ES with nothing kept between calls: its generations are told again from what was tried.

Hansen 2016, The CMA evolution strategy: a tutorial (arXiv 1604.00772). A normal distribution over
the numeric parameters, each scaled to [0, 1], is moved by the ranks of one generation after the
other: mean, step size and covariance. It needs points and ranks alone, so every candidate counts,
whoever drew it, and whoever was stopped early stands behind all that is done. Choices have no
place in it and are drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agenticrs.evolution.methods.method import Tried, Values
from agenticrs.registry.spec import Choice, ConcreteParameter, FloatRange, IntRange

FloatArray = NDArray[np.float64]
_WARM = 10
"""Done candidates of the past from which the first distribution is taken, by the best tenth."""
_SIGMA = 1 / 6
"""The first step without a past: three of them reach from the centre to the bounds."""


def draw(
    space: Sequence[ConcreteParameter],
    past: Sequence[Tried],
    tried: Sequence[Tried],
    n: int,
    seed: int,
) -> list[dict[str, Any]]:
    """``n`` points of the generation that comes after all complete ones of ``tried``.

    ``past`` are done candidates of earlier cycles with comparable rewards.
    """
    numeric = [p for p in space if not isinstance(p, Choice)]
    choices, random = [p for p in space if isinstance(p, Choice)], np.random.default_rng(seed)
    strategy = _strategy(numeric, past, tried, seed) if numeric else None
    return [
        {
            **{c.name: c.values[random.integers(len(c.values))] for c in choices},
            **(_values(numeric, strategy.ask()) if strategy else {}),
        }
        for _ in range(n)
    ]


def _strategy(
    space: Sequence[FloatRange | IntRange], past: Sequence[Tried], tried: Sequence[Tried], seed: int
) -> Any:
    """The strategy after all complete generations."""
    from cmaes import CMA, get_warm_start_mgd

    columns = max(2, len(space))  # it knows no line: a second column is drawn and left out
    mean, sigma, spread = np.full(columns, 0.5), _SIGMA, None
    known = [
        (x, -one.reward)
        for one in past
        if one.reward is not None and (x := _point(space, one.values)) is not None
    ]
    if len(known) >= _WARM:
        mean, sigma, spread = get_warm_start_mgd(known)
    strategy = CMA(mean, sigma, bounds=np.array([[0.0, 1.0]] * columns), seed=seed, cov=spread)
    closed = [
        (x, t) for t in tried if t.state != "open" and (x := _point(space, t.values)) is not None
    ]
    size = strategy.population_size
    for begin in range(0, len(closed) - size + 1, size):
        ordered = sorted(closed[begin : begin + size], key=lambda pair: _place(pair[1]))
        strategy.tell([(x, float(rank)) for rank, (x, _) in enumerate(ordered)])
    return strategy


def _place(one: Tried) -> tuple[float, float]:
    """Where a candidate stands in its generation; less is better."""
    if one.state == "done" and one.reward is not None:
        return -math.inf, -one.reward
    return (-len(one.rungs), -one.rungs[-1]) if one.rungs else (0, 0.0)


def _point(space: Sequence[FloatRange | IntRange], values: Values) -> FloatArray | None:
    """A candidate on the scale of the strategy; None where it lies outside the space."""
    columns = []
    for parameter in space:
        value = values.get(parameter.name)
        if not isinstance(value, int | float) or not parameter.low <= value <= parameter.high:
            return None
        low, high = _ends(parameter)
        at = math.log(value) if parameter.log else float(value)
        columns.append((at - low) / (high - low) if high > low else 0.5)
    return np.array(columns if len(columns) > 1 else [*columns, 0.5])


def _values(space: Sequence[FloatRange | IntRange], point: FloatArray) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for parameter, share in zip(space, point.tolist(), strict=False):
        low, high = _ends(parameter)
        at = low + share * (high - low)
        value = math.exp(at) if parameter.log else at
        whole = round(value) if isinstance(parameter, IntRange) else value
        found[parameter.name] = min(max(whole, parameter.low), parameter.high)
    return found


def _ends(parameter: FloatRange | IntRange) -> tuple[float, float]:
    """The parameter's range, in logarithms where it is drawn so; half a step wider for integers."""
    half = 0.5 if isinstance(parameter, IntRange) else 0.0
    low, high = parameter.low - half, parameter.high + half
    return (math.log(low), math.log(high)) if parameter.log else (low, high)
