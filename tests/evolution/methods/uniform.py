"""A method that draws uniformly: the least that another one has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agenticrs.evolution.methods.method import Candidate, Tried
from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.registry.spec import ConcreteParameter


@dataclass(frozen=True)
class Uniform:
    """Seeded by (seed, number of trials so far)."""

    space: Sequence[ConcreteParameter]
    seed: int = 0

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next ``n``."""
        generator = np.random.default_rng([self.seed, len(tried)])
        actions = Actions(self.space)
        rows = [generator.uniform(size=actions.width).tolist() for _ in range(n)]
        return [Candidate(actions.values(row), "random") for row in rows]
