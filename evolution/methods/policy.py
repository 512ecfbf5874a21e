"""A learnt policy as a method: tuning as a Markov decision process (Kaelbling et al. 1996).

State: the data, what is wanted, what may be spent, and the search so far. Action: a point of the
agent's decision space. Reward: how good its result is among those of the cycle. What is learnt in
one cycle is carried to the next: the caller stores ``learnt(tried)`` when a cycle ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agenticrs.evolution.methods.method import Candidate, Tried, Values
from agenticrs.evolution.methods.points import untried
from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_draws import Features
from agenticrs.evolution.methods.policy_experience import (
    KNOWN,
    LOG_DENSITY,
    experience,
    state,
)
from agenticrs.evolution.methods.policy_learning import Learnt, learn
from agenticrs.evolution.methods.policy_situation import Situation
from agenticrs.evolution.methods.policy_state import PolicyState
from agenticrs.evolution.methods.structures import grouped
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import ConcreteParameter

UNIFORM_SHARE = 0.05
"""Share of candidates drawn uniformly, whatever was learnt: nothing is ever ruled out."""
_PATIENCE = 20
"""Draws for each candidate before a space is thought to be used up."""


@dataclass(frozen=True)
class Policy:
    """One agent's policy in one cycle.

    ``stored`` is what was learnt when the cycle began, ``cycle`` a name that no other cycle of the
    agent has. ``given`` points are tried first (parameters outside the space are left out).
    Raises EvolutionError for a space without parameters, or a state learnt in another one.
    """

    space: Sequence[ConcreteParameter]
    situation: Situation
    stored: PolicyState
    cycle: str
    seed: int = 0
    given: Sequence[Values] = ()

    def __post_init__(self) -> None:
        """Refuse weights of another space."""
        mine = Actions(self.space).fingerprint
        if self.stored.space != mine:
            raise EvolutionError(
                f"the policy was learnt in space {self.stored.space}, this one is {mine}",
                hint="begin with PolicyState.cold(space)",
            )

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next ``n``: given points that were not tried yet, then points that are drawn.

        It first learns from all results that are there. Fewer come back when the space has no
        more points that are new.
        """
        actions = Actions(self.space)
        wanted = [Candidate(p, "given") for p in untried(self.given, self.space, tried)]
        seen = {_key(actions, one.values) for one in tried}
        seen |= {_key(actions, point.values) for point in wanted}
        if len(wanted) >= n:
            return wanted[:n]
        return [*wanted, *self._draw(actions, tried, seen, n - len(wanted))]

    def learnt(self, tried: Sequence[Tried]) -> PolicyState:
        """What is known after these results, of whichever method: to be stored at a cycle's end.

        Candidates of several structures, whose recipes are this space, are searches side by side:
        each was drawn by what was known of its own structure, and has a level of its own.
        """
        return self._learnt(tried).state

    def _learnt(self, tried: Sequence[Tried]) -> Learnt:
        actions = Actions(self.space)
        searches = [
            experience(actions, self.situation, rows, f"{self.cycle}/{name}", self.stored)
            for name, rows in grouped(tried).items()
        ]
        return learn(actions, self.stored, *searches)

    def _draw(
        self, actions: Actions, tried: Sequence[Tried], seen: set[object], n: int
    ) -> list[Candidate]:
        known = sorted((t for t in tried if t.state != "open"), key=lambda t: t.number)
        now = np.array(state(actions, self.situation, known, len(tried)))
        draws = self._learnt(tried).draws(actions, now)
        generator = np.random.default_rng([self.seed, len(tried)])
        rows = draws.draw(_PATIENCE * n, generator)
        uniform = Features(actions).uniform().draw(len(rows), generator)
        swapped = generator.uniform(size=(len(rows), 1)) < UNIFORM_SHARE
        candidates: list[Candidate] = []
        for row in np.where(swapped, uniform, rows).tolist():
            values = actions.values(row)
            if len(candidates) == n or _key(actions, values) in seen:
                continue
            seen.add(_key(actions, values))
            # The density at what is tried: integers are tried, not the places between them.
            inner = float(draws.log_density(np.array([actions.row(values)]))[0])
            mixed = float(np.logaddexp(np.log1p(-UNIFORM_SHARE) + inner, np.log(UNIFORM_SHARE)))
            note = {
                "policy_version": self.stored.version,
                LOG_DENSITY: mixed,
                KNOWN: [t.number for t in known],
            }
            candidates.append(Candidate(values, "policy", note))
        return candidates


def _key(actions: Actions, values: Values) -> object:
    """Equal for points that are the same to the space."""
    return tuple((p.name, values.get(p.name)) for p in (*actions.ranges, *actions.choices))
