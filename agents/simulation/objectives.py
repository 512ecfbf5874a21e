"""Business objectives of simulated users: what ``rewards.objectives`` asks for, out of an outcome.

================ =============================================================================
objective        what stands for it here, for each user over the same days
================ =============================================================================
watch_time       seconds watched; items taken where the log knows no seconds
retention        share of the days after the first on which the user came back
satisfaction     mean satisfaction of the user's events; 0 without any
long_term_value  satisfaction summed over the days after the first: what comes late
risk             share of the visits that left the user with nothing, and every hate. A log knows
                 no complaints; whoever finds nothing is the nearest that it has
================ =============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from agenticrs.agents.simulation.outcome import Outcome
from agenticrs.rewards.objectives import Objective


def objectives(outcome: Outcome) -> dict[Objective, Tensor]:
    """Every objective for each user, (N,) float64."""
    signals: Mapping[str, Tensor] = outcome.signals
    risk = signals["empty_visits"] / signals["visits"].clamp(min=1)
    if "hate" in signals:
        risk = risk + signals["hate"]
    return {
        "watch_time": signals["watch_time"],
        "retention": signals["retention"],
        "satisfaction": signals["satisfaction"],
        "long_term_value": signals["later_enjoyment"],
        "risk": risk,
    }
