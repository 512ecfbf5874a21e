"""Greedy selection of members: the baseline that searched compositions have to beat.

Caruana et al. 2004, Ensemble selection from libraries of models, in its simplest form: begin with
the best member alone, then add whoever helps most, until nobody does. The library is first what
each agent has at present; then other versions of it, and candidates that never became one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agenticrs.evolution.methods.method import Candidate, Method, Tried, Value, Values

ORIGIN = "greedy"
WEIGHT, VERSION, TRIAL = "weight.", "version.", "trial."
_MEMBERS = "members"
_MARKS = {"@": VERSION, "#": TRIAL}
Members = frozenset[str]
"""Names of agents, with ``@number`` for another version of one, ``#key`` for a trial of it."""


@dataclass(frozen=True)
class GreedySelection:
    """Grows a set of members one by one.

    ``agents`` are who may be a member; their parameters ``weight.<agent>`` are 1 for a member and 0
    for the others. ``base`` holds all other coordinates. ``earlier`` are further versions of
    agents, ``archived`` finished trials that became none: once nobody present helps any more, one
    of them may join, or stand in for its agent, which is the coordinate ``version.<agent>`` or
    ``trial.<agent>``. At most ``most`` candidates are drawn.
    """

    agents: Sequence[str]
    base: Values
    most: int
    earlier: Mapping[str, Sequence[int]] = field(default_factory=dict)
    archived: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next sets; none while open ones decide, when nobody helps, or when all are drawn."""
        mine = [one for one in tried if one.origin == ORIGIN]
        seen = {frozenset(one.note[_MEMBERS]) for one in mine}
        wanted = [one for one in self._round(mine) if one not in seen]
        return [self._candidate(one) for one in wanted[: max(0, min(n, self.most - len(mine)))]]

    def _round(self, mine: Sequence[Tried]) -> list[Members]:
        """The sets of the round under way, smallest names first."""
        rewards = {
            frozenset(one.note[_MEMBERS]): one.reward
            for one in mine
            if one.state == "done" and one.reward is not None
        }
        closed = {frozenset(one.note[_MEMBERS]) for one in mine if one.state != "open"}
        present = sorted(self.agents)
        further = [
            f"{agent}{mark}{number}"
            for agent in present
            for mark, known in zip(_MARKS, (self.earlier, self.archived), strict=True)
            for number in known.get(agent, ())
        ]
        best: Members = frozenset()
        for library in (present, further):
            while True:
                due = [grown for name in library if (grown := _with(best, name)) != best]
                if not all(one in closed for one in due):
                    return due
                done = [one for one in due if one in rewards]
                better = max(done, key=lambda one: rewards[one], default=None)
                if better is None or (best and rewards[better] <= rewards[best]):
                    break
                best = better
        return []

    def _candidate(self, members: Members) -> Candidate:
        point: dict[str, Value] = {WEIGHT + name: 0.0 for name in self.agents}
        for member in members:
            name, mark, number = _parts(member)
            point[WEIGHT + name] = 1.0
            if mark:
                point[_MARKS[mark] + name] = int(number)
        return Candidate({**self.base, **point}, ORIGIN, {_MEMBERS: sorted(members)})


@dataclass(frozen=True)
class OfPresentVersions:
    """A method whose points say nothing of versions: it is told of those that need none."""

    method: Method

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The method's own next candidates."""
        return self.method.ask(of_present_versions(tried), n)


def of_present_versions(tried: Sequence[Tried]) -> list[Tried]:
    """Those whose points name no version or trial."""
    return [one for one in tried if not any(n.startswith((VERSION, TRIAL)) for n in one.values)]


def _with(members: Members, name: str) -> Members:
    """The members and that one, in the place of another one of its agent."""
    agent = _parts(name)[0]
    return frozenset(one for one in members if _parts(one)[0] != agent) | {name}


def _parts(member: str) -> tuple[str, str, str]:
    """Agent, mark and number; the last two are empty for a present version."""
    agent, *rest = re.split(f"([{''.join(_MARKS)}])", member)
    return (agent, *rest) if rest else (agent, "", "")  # type: ignore[return-value]
