"""Methods made of methods: structures searched one by one, and two methods that take turns.

Both decide by what was tried alone. What a candidate belongs to is told by the fingerprint of its
structure, which its values bring along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agenticrs.evolution.methods.limits import held
from agenticrs.evolution.methods.method import Candidate, Ends, Method, Tried, Values
from agenticrs.evolution.methods.points import candidates, same
from agenticrs.evolution.methods.saturation import LEAST, WINDOW, gains, saturated
from agenticrs.evolution.methods.structures import OWN, Groups, bare, grouped, paying, structure_key
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import Limit

_TURN, _WHY = "turn", "turn_reason"
"""Where a candidate's note keeps whose turn it was, and why."""

SearchFor = Callable[[Values], Method]
"""The search over the recipe of one structure, given the values that it was proposed with; values
without a structure stand for the agent's own, and its whole space."""


@dataclass(frozen=True)
class ProposeThenSearch:
    """Each proposed structure gets a search of its own; the better ones get more of it.

    Successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943) in brackets: ``structures`` are
    tried with the recipe they were proposed with; the best 1/``eta`` of them get ``recipes``
    searched candidates each, the best 1/``eta`` of those ``eta`` times as many more, until one is
    left. Then the next bracket begins, by a proposer that knows what came of the last one; none
    does after one that brought no gain. What breaks one of ``limits`` counts nothing for its
    structure.

    Raises EvolutionError for less than one structure or recipe, or ``eta`` below 2.
    """

    proposer: Method
    search_for: SearchFor
    structures: int = 4
    recipes: int = 2
    eta: int = 2
    limits: Sequence[Limit] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be halved."""
        if self.structures < 1 or self.recipes < 1 or self.eta < 2:
            raise EvolutionError(
                "structures and recipes must be at least 1 and eta at least 2, got "
                f"{self.structures}, {self.recipes} and {self.eta}"
            )

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next ``n``; fewer while open candidates decide who goes on."""
        rows, drawn = list(tried), list[Candidate]()
        while len(drawn) < n:
            wanted = self._next(rows, n - len(drawn))
            if not wanted:
                break
            drawn += wanted
            first = 1 + max((row.number for row in rows), default=-1)
            rows += [Tried(first + i, c.values, "open", note=c.note) for i, c in enumerate(wanted)]
        return drawn

    def _next(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """What the bracket under way wants next; nothing while it waits."""
        groups = grouped(tried)
        kept = grouped(paying(held(tried, self.limits)))
        names = list(groups)
        begun = max(0, len(names) - 1) // self.structures * self.structures
        bracket = names[begun:]
        missing = self.structures - len(bracket)
        if missing and (proposed := self._proposed(tried, groups, min(n, missing))):
            return proposed
        standing, due, more, rung = bracket, 1, self.recipes, 0
        while standing:
            searched: list[Candidate] = []
            for name in standing:
                lacks = min(due - len(groups[name]), n - len(searched))
                if lacks > 0:
                    searched += _recipes(self.search_for, name, groups[name], lacks, rung)
            if searched:
                return searched
            if any(row.state == "open" for name in standing for row in groups[name]):
                return []
            if rung and len(standing) == 1:
                break
            standing = _better(kept, standing, self.eta)
            due, more, rung = due + more, more * self.eta, rung + 1
        return [] if self.ended(tried) else self._proposed(tried, groups, min(n, self.structures))

    def ended(self, tried: Sequence[Tried]) -> str:
        """Why no bracket should follow the last one; empty: one may, or one is under way."""
        groups = grouped(tried)
        names = list(groups)
        if len(names) % self.structures or len(names) < 2 * self.structures:
            return ""
        last = sum(len(groups[name]) for name in names[-self.structures :])
        known = paying(held(candidates(tried), self.limits))
        found = saturated(known, window=max(WINDOW, last))
        return found.reason if found else ""

    def _proposed(self, tried: Sequence[Tried], groups: Groups, n: int) -> list[Candidate]:
        """Structures that are not there yet; without another one the proposer has no more."""
        fresh: dict[str, Candidate] = {}
        for candidate in self.proposer.ask(tried, n):
            name = structure_key(candidate.values)
            if name not in groups and name not in fresh:
                note = {**candidate.note, "fingerprint": name, "rung": 0}
                fresh[name] = replace(candidate, note=note)
        return list(fresh.values())


@dataclass(frozen=True)
class BeginWith:
    """What earlier cycles ended with is tried again first, structures and all; then the method."""

    given: Sequence[Candidate]
    method: Method

    def ended(self, tried: Sequence[Tried]) -> str:
        """What the method says."""
        return self.method.ended(tried) if isinstance(self.method, Ends) else ""

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next ``n``: given ones that were not tried yet, then what the method draws."""
        first = [c for c in self.given if not any(same(c.values, one.values) for one in tried)][:n]
        return [*first, *(self.method.ask(tried, n - len(first)) if len(first) < n else [])]


@dataclass(frozen=True)
class StandIn:
    """Where the first method draws nothing, the second stands in; its candidates say for whom."""

    first: Method
    second: Method
    name: str
    """The first one's."""

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next ``n`` of one of them."""
        if drawn := self.first.ask(tried, n):
            return drawn
        instead = {"instead_of": self.name}
        return [
            replace(candidate, note={**candidate.note, **instead})
            for candidate in self.second.ask(tried, n)
        ]


@dataclass(frozen=True)
class SearchBest:
    """Searches the recipe of the best structure so far that keeps the limits and is not too dear.

    That is the agent's own while nothing is done.
    """

    search_for: SearchFor
    limits: Sequence[Limit] = ()

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next ``n`` recipes."""
        groups, kept = grouped(tried), grouped(paying(held(tried, self.limits)))
        done = [name for name in kept if _score(kept[name]) is not None]
        best = _better(kept, done, max(1, len(done)))
        name = best[0] if best else OWN
        return _recipes(self.search_for, name, groups.get(name, []), n, 0)


@dataclass(frozen=True)
class AlternateOnSaturation:
    """One method until it is saturated, then the next until that is, and back.

    ``others`` follow the second one, and the first them. A method's turn ends when it has tried
    ``window`` candidates and the last ``window`` brought no gain of more than ``least`` of the best
    reward. One that draws nothing passes its turn. A wave is drawn by one of them: while candidates
    are open, only whoever drew them draws more. When as many turns in a row as there are methods
    brought no such gain, nobody draws any more.
    """

    first: Method
    second: Method
    names: tuple[str, ...] = ("first", "second")
    window: int = WINDOW
    least: float = LEAST
    others: tuple[Method, ...] = ()

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next ``n`` of whoever has the turn; their note says who, and why."""
        if self.ended(tried):
            return []
        methods, begun = self._methods, _of_this_wave(tried)
        who, why = self.turn(tried)
        if begun is not None:
            who, why = self.names.index(begun[_TURN]), begun[_WHY]
        drawn = methods[who].ask(tried, n)
        for _ in methods[1:] if begun is None else ():
            if drawn:
                break
            why = f"{self.names[who]} has nothing more to try"
            who = (who + 1) % len(methods)
            drawn = methods[who].ask(tried, n)
        note = {_TURN: self.names[who], _WHY: why}
        return [replace(candidate, note={**candidate.note, **note}) for candidate in drawn]

    def turn(self, tried: Sequence[Tried]) -> tuple[int, str]:
        """Whose turn it is (0, 1, ...), and why."""
        who, why, _ = self._turns(tried)
        return who, why

    def ended(self, tried: Sequence[Tried]) -> str:
        """Why nobody should draw any more; empty while one of them may bring a gain."""
        _, why, barren = self._turns(tried)
        names = " and ".join(self.names)
        return f"{names} had turns without a gain; {why}" if barren >= len(self._methods) else ""

    def _turns(self, tried: Sequence[Tried]) -> tuple[int, str, int]:
        """Whose turn it is, why, and how many turns before it, in a row, brought no gain."""
        closed = [one for one in candidates(tried) if one.state != "open"]
        who, begun, why, barren = 0, 0, f"{self.names[0]} begins", 0
        for end in range(1, len(closed) + 1):
            if end - begun < self.window:
                continue
            found = saturated(closed[:end], window=self.window, least=self.least)
            if found is not None:
                why = f"{self.names[who]} is saturated: {found.reason}"
                gained = gains(closed[:begun], closed[begun:end], self.least)
                barren = 0 if gained else barren + 1
                who, begun = (who + 1) % len(self._methods), end
        return who, why, barren

    @property
    def _methods(self) -> tuple[Method, ...]:
        return (self.first, self.second, *self.others)


def bracket_trials(structures: int, recipes: int = 2, eta: int = 2) -> int:
    """How many candidates a whole bracket of ``ProposeThenSearch`` tries."""
    trials, standing, more = structures, max(1, structures // eta), recipes
    while True:
        trials += standing * more
        if standing == 1:
            return trials
        standing, more = max(1, standing // eta), more * eta


def structures_within(trials: int, recipes: int = 2, eta: int = 2) -> int:
    """The most structures whose bracket so many candidates pay for; 0 for none."""
    structures = 0
    while bracket_trials(structures + 1, recipes, eta) <= trials:
        structures += 1
    return structures


def _of_this_wave(tried: Sequence[Tried]) -> Mapping[str, Any] | None:
    """The note of the last open candidate that was drawn in a turn, or None."""
    notes = [one.note for one in tried if one.state == "open" and _TURN in one.note]
    return notes[-1] if notes else None


def _recipes(
    search_for: SearchFor, name: str, rows: Sequence[Tried], n: int, rung: int
) -> list[Candidate]:
    """Recipes for a structure by the search of its own, which is told what is known of it."""
    base: Values = rows[0].values if rows else {}
    known = [bare(row) for row in rows]
    kept = {} if name == OWN else base
    note: dict[str, object] = {"fingerprint": name, "rung": rung}
    if rows and name != OWN:
        note |= {"parent": rows[0].number, "difference": "another recipe for the same structure"}
        if rows[0].trial is not None:
            note["parent_trials"] = [rows[0].trial]
    return [
        replace(found, values={**kept, **found.values}, note={**found.note, **note})
        for found in search_for(base).ask(known, n)
    ]


def _better(groups: Mapping[str, Sequence[Tried]], names: Sequence[str], eta: int) -> list[str]:
    """The best 1/eta of them, one at least, best first; those without any reward are left out."""
    scores = {name: score for name in names if (score := _score(groups[name])) is not None}
    ranked = sorted(scores, key=lambda name: scores[name], reverse=True)
    return ranked[: max(1, len(names) // eta)]


def _score(rows: Sequence[Tried]) -> tuple[float, float] | None:
    """How far the best of a structure came, and its reward there."""
    done = [one.reward for one in rows if one.state == "done" and one.reward is not None]
    if done:
        return (math.inf, max(done))
    return max(((len(one.rungs), one.rungs[-1]) for one in rows if one.rungs), default=None)
