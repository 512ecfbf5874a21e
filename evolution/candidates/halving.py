"""Successive halving at a rung of the cascade, decided as each candidate arrives (ASHA).

Li et al. 2020, A system for massively parallel hyperparameter tuning (arXiv 1810.05934), section
3: a candidate goes on when it is among the best 1/eta of those that have reached the rung so far.
Nobody waits for the others, so an early one may be let through that a complete rung would have
stopped.

Ours must be among the best of the latest ones besides. A search that learns sends ever better
candidates, each of which beats its first steps: measured by those alone hardly any was stopped
(4 of 57 on MovieLens 100K), and the rung cost more than it saved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

ETA = 2
"""Half goes on: with a handful of candidates a harsher cut stops the winner too often."""
RECENT = 8
"""The latest ones at the rung that a candidate is compared with besides."""
LEAST = 3
"""Candidates at the rung before anybody is stopped: fewer are no order."""


def goes_on(reward: float, others: Sequence[float], eta: int = ETA, least: int = LEAST) -> bool:
    """Whether ``reward`` is among the best 1/eta of the rung, and of the latest ones there.

    ``others`` are those that came before, in the order of their coming. What is no number does not
    go on.
    """
    if math.isnan(reward):
        return False
    if 1 + len(others) < least:
        return True
    return all(_is_among_best(reward, known, eta) for known in (others, others[-RECENT:]))


def _is_among_best(reward: float, others: Sequence[float], eta: int) -> bool:
    better = sum(other > reward for other in others)
    return better < max(1, (1 + len(others)) // eta)
