"""Structures by chance: mutation and crossover of documents, where no language model drafts them.

Parents come from the archive of what was tried; each island begins with another known structure.
What is drawn says so: its origin is ``mutation`` or ``crossover``, never anything grander. The
module knows nothing of trials or agents, only of documents and of what came of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from agenticrs.evolution.methods.archive import Archive, Layout
from agenticrs.evolution.methods.method import Candidate, Tried, Values
from agenticrs.evolution.methods.points import STRUCTURE, candidates
from agenticrs.evolution.methods.structures import paying
from agenticrs.platform.errors import AgentError

if TYPE_CHECKING:
    from agenticrs.agents.grammar.document import Architecture
    from agenticrs.agents.grammar.variation import Limits, Variation

_REDRAWS = 4
"""Draws for a candidate that turn out as copies before the place is left empty."""


@dataclass(frozen=True)
class StructuralVariation:
    """Draws structures out of those that did well.

    ``document`` says which structure the agent has with some settings. ``known`` are structures to
    begin with, by name, the agent's own first. ``recipe`` names the parameters that a child takes
    over from its parent. ``remembered`` are done candidates of earlier cycles on the same data,
    newest first: they may be parents, and are not drawn again. Whatever takes several times what is
    usual is no parent (``structures.paying``).
    """

    document: Callable[[Values], Architecture]
    known: Mapping[str, Architecture]
    recipe: Sequence[str] = ()
    limits: Limits | None = None
    remembered: Sequence[Tried] = ()
    layout: Layout = field(default_factory=Layout)
    crossover: float = 0.3
    """Share of candidates that have two parents."""
    seed: int = 0

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next ``n`` structures, none of which was tried before.

        Fewer where a bounded number of draws brings nothing new within the limits.
        """
        from agenticrs.agents.grammar.canonical import fingerprint

        past = [replace(t, number=-1 - place) for place, t in enumerate(self.remembered)]
        structures = self._structures([*past, *tried])
        prints = {number: fingerprint(found) for number, found in structures.items()}
        known = [one for one in (*past[::-1], *tried) if one.number in structures]
        archive = Archive.of(paying(known), self.layout)
        seen, drawn = set(prints.values()), []
        for place in range(len(tried), len(tried) + n):
            rng = np.random.default_rng([self.seed, place])
            island = place % self.layout.islands
            for _ in range(_REDRAWS):
                first = self._parent(archive, island, structures, rng)
                second = None
                if rng.random() < self.crossover:
                    second = self._partner(archive, island, structures, first, rng)
                made = self._made(first, second, rng)
                if made is None:
                    continue
                mark = fingerprint(made.architecture)
                if mark not in seen:
                    seen.add(mark)
                    parents = [first] if second is None else [first, second]
                    drawn.append(self._candidate(made, parents, prints, island, mark))
                    break
        return drawn

    def _structures(self, tried: Sequence[Tried]) -> dict[int, Architecture]:
        """The structures of candidates by number; what is no document has none."""
        from agenticrs.agents.grammar.document import Architecture

        found = {}
        for one in candidates(tried):
            own = one.values.get(STRUCTURE)
            try:
                structure = Architecture.model_validate(own) if own else self.document(one.values)
            except (ValueError, AgentError):
                continue
            found[one.number] = structure
        return found

    def _parent(
        self,
        archive: Archive,
        island: int,
        structures: Mapping[int, Architecture],
        rng: np.random.Generator,
    ) -> _Parent:
        """One of the island; where it is still empty, the known structure that it begins with."""
        found = archive.parent(island, rng)
        if found is not None:
            return _Parent(structures[found.number], found)
        name = list(self.known)[island % len(self.known)]
        return _Parent(self.known[name], name=name)

    def _partner(
        self,
        archive: Archive,
        island: int,
        structures: Mapping[int, Architecture],
        first: _Parent,
        rng: np.random.Generator,
    ) -> _Parent | None:
        """Another one of the island, or any known structure; None when it is the first again."""
        found = archive.parent(island, rng) if rng.random() < 0.5 else None
        if found is not None:
            partner = _Parent(structures[found.number], found)
        else:
            name = list(self.known)[int(rng.integers(len(self.known)))]
            partner = _Parent(self.known[name], name=name)
        return None if partner.structure == first.structure else partner

    def _made(
        self, first: _Parent, second: _Parent | None, rng: np.random.Generator
    ) -> Variation | None:
        from agenticrs.agents.grammar.variation import cross, mutate

        try:
            if second is None:
                return mutate(first.structure, rng, limits=self.limits)
            return cross(first.structure, second.structure, rng, limits=self.limits)
        except AgentError:  # nothing allowed can be made of these two: others are tried
            return None

    def _candidate(
        self,
        made: Variation,
        parents: Sequence[_Parent],
        prints: Mapping[int, str],
        island: int,
        mark: str,
    ) -> Candidate:
        first = parents[0].tried
        own = (
            {} if first is None else {n: first.values[n] for n in self.recipe if n in first.values}
        )
        note: dict[str, Any] = {
            "difference": made.difference,
            "operator": made.operator,
            "island": island,
            "fingerprint": mark,
            "from": [parent.said(prints) for parent in parents],
        }
        numbers = [p.tried.number for p in parents if p.tried is not None and p.tried.number >= 0]
        if numbers:
            note |= {"parent": numbers[0], "parents": numbers}
        trials = [p.tried.trial for p in parents if p.tried is not None]
        if rows := [trial for trial in trials if trial is not None]:
            note["parent_trials"] = rows
        origin = "mutation" if len(parents) == 1 else "crossover"
        structure = made.architecture.model_dump(mode="json")
        return Candidate({**own, STRUCTURE: structure}, origin, note)


@dataclass(frozen=True)
class _Parent:
    """A structure to go on from: of a candidate that was tried, or a known one."""

    structure: Architecture
    tried: Tried | None = None
    name: str = ""

    def said(self, prints: Mapping[int, str]) -> str:
        """Who it is: ``#3``, ``earlier 1a2b...``, or the name of a known structure."""
        if self.tried is None:
            return self.name
        number = self.tried.number
        return f"#{number}" if number >= 0 else f"earlier {prints[number]}"
