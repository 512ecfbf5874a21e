"""What a user remembers: facts (what was seen and done) and feelings (how pages were).

As in Agent4Rec, a prompt holds few of them. Facts are those that are nearest to the page at hand,
newest, and most remarkable, added up as in Park et al. 2023 (Generative agents, arXiv 2304.03442);
feelings are the last ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

MOST_FACTS, MOST_FEELINGS = 5, 3
_KEPT = 200
_FADING = 0.97
"""What is left of how new a fact is, when another one comes."""


@dataclass(frozen=True)
class Fact:
    """An item and what became of it; ``remarkable`` in [0, 1]: how far from indifferent."""

    item: int
    text: str
    remarkable: float


@dataclass(frozen=True)
class Feeling:
    """How a page left the user: ``satisfaction`` from 1 to 10, ``tired`` by so many items."""

    day: int
    satisfaction: int
    tired: int
    text: str


@dataclass
class Memory:
    """The memory of one user; the oldest facts fall out of it."""

    facts: list[Fact] = field(default_factory=list)
    feelings: list[Feeling] = field(default_factory=list)

    def note(self, facts: list[Fact]) -> None:
        """Remember facts, oldest first."""
        self.facts = [*self.facts, *facts][-_KEPT:]

    def feel(self, feeling: Feeling) -> None:
        """Remember how a page was."""
        self.feelings = [*self.feelings, feeling][-MOST_FEELINGS:]

    def recall(self, vectors: Tensor, page: Tensor) -> list[Fact]:
        """The facts that matter for a page of items ((k,) indices), oldest first, few of them.

        ``vectors`` (I, d) are all items' unit vectors.
        """
        if not self.facts or not len(page):
            return []
        had = torch.tensor([fact.item for fact in self.facts])
        near = (vectors[had] @ vectors[page].t()).amax(1)
        fresh = _FADING ** torch.arange(len(had) - 1, -1, -1).to(torch.float32)
        marked = torch.tensor([fact.remarkable for fact in self.facts])
        order = (near + fresh + marked).argsort(descending=True, stable=True)
        return [self.facts[place] for place in sorted(order[:MOST_FACTS].tolist())]
