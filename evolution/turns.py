"""Who evolves next, and with how much of a cycle's seconds: by credit, or in rotation.

An agent's turn is worth what improving it is expected to bring for its cost:

    worth = credit x expected relative gain of one more candidate / seconds of a candidate

Credit is the agent's part in the outer reward (``credit.py``), so that a relative gain of its own
reward counts for as much as the composition owes to it. That is a guess: how far the outer reward
follows an inner one, only trying tells. So nobody is left without a share.
Pure: knows numbers and names alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.methods.saturation import WINDOW, expected_gain

FLOOR = 0.25
"""Part of an even share that everybody gets, whatever is expected of them."""


@dataclass(frozen=True)
class Standing:
    """What is known of an agent before a cycle.

    ``credit`` is its part in the outer reward, None where it does not serve; ``gain`` by which
    share of its best reward one more candidate is expected to exceed that, and ``seconds`` what a
    candidate takes: None where none was tried.
    """

    agent: str
    credit: float | None = None
    gain: float | None = None
    seconds: float | None = None

    @property
    def new(self) -> bool:
        """Nothing was tried yet, so nothing can be expected."""
        return self.gain is None or self.seconds is None

    @property
    def worth(self) -> float:
        """Outer reward a second that is expected of its search, at least 0."""
        if self.gain is None or self.seconds is None or self.credit is None:
            return 0.0
        return max(0.0, self.credit) * self.gain / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Turn:
    """An agent's place in a cycle: its share of the seconds, in (0, 1], and why, in a sentence."""

    agent: str
    share: float
    reason: str


def standing(
    agent: str, tried: Sequence[Tried], *, credit: float | None, seconds: float | None
) -> Standing:
    """What an agent's past says; ``tried`` is its past on the same data, in the order of trying.

    The gain is expected of a candidate like the last ones (``saturation.expected_gain``). There is
    none to be expected as long as fewer than two were measured to their end.
    """
    closed = [one for one in tried if one.state != "open"]
    rewards = [
        one.reward
        for one in closed
        if one.state == "done" and one.reward is not None and math.isfinite(one.reward)
    ]
    if len(rewards) < 2:
        return Standing(agent, credit, None, seconds)
    best = max(rewards)
    gain = expected_gain(closed[-WINDOW:], best) / (abs(best) or 1.0)
    return Standing(agent, credit, gain, seconds)


def order(standings: Sequence[Standing], *, floor: float = FLOOR) -> list[Turn]:
    """Agents without history first, as they were given, then by falling worth.

    A new agent gets an even share. Of what is left, ``floor`` is spread evenly and the rest in
    proportion to worth (evenly where nothing is worth anything). Shares sum to 1. Raises
    ValueError for a floor outside [0, 1].
    """
    if not 0.0 <= floor <= 1.0:
        raise ValueError(f"floor must lie in [0, 1], got {floor}")
    if not standings:
        return []
    even = 1 / len(standings)
    turns = [
        Turn(one.agent, even, f"{one.agent} has too little history to expect anything of")
        for one in standings
        if one.new
    ]
    known = sorted((one for one in standings if not one.new), key=lambda one: -one.worth)
    total = math.fsum(one.worth for one in known)
    for one in known:
        part = one.worth / total if total > 0 else 1 / len(known)
        share = even * (floor + (1 - floor) * part * len(known))
        turns.append(Turn(one.agent, share, _reason(one, part)))
    return turns


def even(agents: Sequence[str], why: str) -> list[Turn]:
    """Even shares, in the order given, because of ``why``."""
    return [Turn(agent, 1 / len(agents), f"{agent} has an even share: {why}") for agent in agents]


def rotation(agents: Sequence[str], turn: int) -> list[Turn]:
    """The fixed alternative: even shares, and every cycle another agent begins.

    ``turn`` counts cycles from 0.
    """
    if not agents:
        return []
    first = turn % len(agents)
    return [
        Turn(agent, 1 / len(agents), f"{agent} is number {place} of {len(agents)} in rotation")
        for place, agent in enumerate([*agents[first:], *agents[:first]], 1)
    ]


def _reason(one: Standing, part: float) -> str:
    if one.credit is None:
        return f"{one.agent} does not serve, so no credit is known of it"
    if one.credit <= 0:
        return f"{one.agent} adds nothing to what serves (credit {one.credit:+.4f})"
    if not one.gain:
        return f"{one.agent} has credit {one.credit:+.4f}, but no gain is expected of its search"
    return (
        f"{one.agent} has credit {one.credit:+.4f} and {one.gain:.2%} expected gain for "
        f"{one.seconds:.1f} s a candidate: {part:.0%} of all that is expected"
    )
