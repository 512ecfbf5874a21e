"""Greedy selection of members: the baseline that searched compositions have to beat.

Caruana et al. 2004, Ensemble selection from libraries of models, in its simplest form: begin with
the best member alone, then add whoever helps most, until nobody does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenticrs.evolution.methods.method import Candidate, Tried, Values

ORIGIN = "greedy"
_MEMBERS = "members"


@dataclass(frozen=True)
class GreedySelection:
    """Grows a set of members one by one.

    ``weights`` names the parameters that are 1 for a member and 0 for the others; ``base`` holds
    all other coordinates. At most ``most`` candidates are drawn.
    """

    weights: Sequence[str]
    base: Values
    most: int

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next sets; none while open ones decide, when nobody helps, or when all are drawn."""
        mine = [one for one in tried if one.origin == ORIGIN]
        seen = {frozenset(one.note[_MEMBERS]) for one in mine}
        wanted = [one for one in self._round(mine) if one not in seen]
        return [self._candidate(one) for one in wanted[: max(0, min(n, self.most - len(mine)))]]

    def _round(self, mine: Sequence[Tried]) -> list[frozenset[str]]:
        """The sets of the round under way, smallest names first."""
        rewards = {
            frozenset(one.note[_MEMBERS]): one.reward
            for one in mine
            if one.state == "done" and one.reward is not None
        }
        closed = {frozenset(one.note[_MEMBERS]) for one in mine if one.state != "open"}
        best: frozenset[str] = frozenset()
        while True:
            due = [best | {name} for name in sorted(self.weights) if name not in best]
            if not due or not all(one in closed for one in due):
                return due
            done = [one for one in due if one in rewards]
            grown = max(done, key=lambda one: rewards[one], default=None)
            if grown is None or (best and rewards[grown] <= rewards[best]):
                return []
            best = grown

    def _candidate(self, members: frozenset[str]) -> Candidate:
        weights = {name: float(name in members) for name in self.weights}
        return Candidate({**self.base, **weights}, ORIGIN, {_MEMBERS: sorted(members)})
