"""Successive halving at a rung of the cascade, decided as each candidate arrives (ASHA).

Li et al. 2020, A system for massively parallel hyperparameter tuning (arXiv 1810.05934), section
3: a candidate goes on when it is among the best 1/eta of those that have reached the rung so far.
Nobody waits for the others, so an early one may be let through that a complete rung would have
stopped.
"""

from __future__ import annotations

from collections.abc import Sequence

ETA = 2
"""Half goes on: with a handful of candidates a harsher cut stops the winner too often."""
LEAST = 3
"""Candidates at the rung before anybody is stopped: fewer are no order."""


def goes_on(reward: float, others: Sequence[float], eta: int = ETA, least: int = LEAST) -> bool:
    """Whether ``reward`` is among the best 1/eta of the rung, ``others`` being there already."""
    at_rung = 1 + len(others)
    if at_rung < least:
        return True
    better = sum(other > reward for other in others)
    return better < max(1, at_rung // eta)
