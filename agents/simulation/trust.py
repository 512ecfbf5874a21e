"""One number between 0 and 1: how far outer rewards of a simulated world can be trusted.

========= =============================================================================
part      in [0, 1]
========= =============================================================================
response  1 - Jensen-Shannon distance, mean over the part's figures (``fidelity``)
sequence  the same
items     the same
visits    the same
choice    2 AUC - 1 of the users' choices at 1:1: 0 for a coin, 1 for perfect
ordering  (1 + tau) / 2 of recommenders ordered by outer reward and by held-out accuracy
========= =============================================================================

The score is their geometric mean, so that one bad part is not made good by others. A part that was
not measured (a log without times has no visits; an ordering needs recommenders) counts one half:
neither trusted nor refuted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from agenticrs.agents.simulation.fidelity import Fidelity

_DISTANCES = ("response", "sequence", "items", "visits")
_UNKNOWN = 0.5
_FLOOR = 1e-3


@dataclass(frozen=True)
class Trust:
    """The score and its parts; None for a part that was not measured."""

    score: float
    parts: Mapping[str, float | None]


def trust(fidelity: Fidelity, tau: float | None = None) -> Trust:
    """Judge a world by its fidelity and, if known, Kendall's tau of an ordering of recommenders."""
    parts: dict[str, float | None] = {}
    for name in _DISTANCES:
        figures = fidelity.part(name)
        near = [1 - figure.distance for figure in figures]
        parts[name] = sum(near) / len(near) if near else None
    one_to_one = next((choice for choice in fidelity.choices if choice.m == 1), None)
    known = one_to_one is not None and one_to_one.users > 0
    parts["choice"] = max(0.0, 2 * one_to_one.auc - 1) if one_to_one and known else None
    parts["ordering"] = None if tau is None else (1 + tau) / 2
    return Trust(score_of(parts), parts)


def score_of(parts: Mapping[str, float | None]) -> float:
    """The score that these parts make."""
    logs = [math.log(max(_UNKNOWN if x is None else x, _FLOOR)) for x in parts.values()]
    return math.exp(math.fsum(logs) / len(logs))
