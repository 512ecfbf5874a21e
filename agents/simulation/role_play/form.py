"""The form of an answer: what a user does with each item of a page, and how it leaves the user.

The schema asks for what the log knows (a share that was watched, a rating, whether an item is
taken, reactions). What comes back is checked here; what does not fit is refused with the exact
errors, and acts in no way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from agenticrs.agents.simulation.signals import Signals
from agenticrs.platform.errors import AgentError
from agenticrs.platform.llm.fence import one_line
from agenticrs.platform.llm.port import Schema
from agenticrs.platform.llm.strict import strict

_MOST_ERRORS = 8
_LONGEST_FEELING = 160
_MOST_WATCHED = 5.0
"""Videos may be watched again, but nobody watches one more often than this."""


class UnfitAnswer(AgentError):
    """An answer was refused; ``errors`` say exactly why, one by one."""

    def __init__(self, errors: Sequence[str]) -> None:
        self.errors = tuple(errors[:_MOST_ERRORS])
        super().__init__("; ".join(self.errors))


@dataclass(frozen=True)
class Verdict:
    """What a user makes of a page of n items; tuples have an entry for each place.

    ``leaves_after``: items that are looked at before leaving, 0 for whoever stays.
    ``satisfaction`` is from 1 to 10, ``feeling`` a line of text that nobody has checked.
    """

    takes: tuple[bool, ...]
    amount: tuple[float, ...]
    reactions: tuple[tuple[bool, ...], ...]
    leaves_after: int
    satisfaction: int
    feeling: str


@dataclass(frozen=True)
class Form:
    """The form for worlds with these signals."""

    signals: Signals

    @property
    def _asks_whether(self) -> bool:
        """Whether an item may be left alone; in a feed with a measure, everything has one."""
        return not self.signals.shown or self.signals.measure == "positive"

    @property
    def _grades(self) -> tuple[float, ...]:
        """The grades of a rating; nothing where any number in a range will do."""
        within = self.signals.within
        if self.signals.measure != "rating" or within.shape[1] > 1:
            return ()
        return tuple(float(grade) for grade in within[:, 0].tolist())

    @property
    def _range(self) -> tuple[float, float]:
        if self.signals.measure == "watch_ratio":
            return 0.0, _MOST_WATCHED
        return self.signals.low, self.signals.high

    def schema(self, n: int) -> Schema:
        """The schema of an answer for a page of ``n`` items."""
        entry: dict[str, Any] = {
            "place": {"type": "integer", "enum": list(range(1, n + 1))},
            "thought": {"type": "string"},
        }
        if self._asks_whether:
            entry["takes"] = {"type": "boolean"}
        if self.signals.measure == "watch_ratio":
            text = "share of the video that is watched: 0 is skipped at once, 1 is all of it"
            entry["watched"] = {"type": "number", "description": text}
        elif self.signals.measure == "rating":
            rated: dict[str, Any] = {"type": "number", "description": "what the user would rate it"}
            if self._grades:
                rated["enum"] = list(self._grades)
            entry["rating"] = rated
        if self.signals.reactions:
            names = {"type": "string", "enum": list(self.signals.reactions)}
            entry["reactions"] = {"type": "array", "items": names}
        body = {
            "type": "object",
            "properties": {
                "entries": {"type": "array", "items": {"type": "object", "properties": entry}},
                "feeling": {"type": "string"},
                "satisfaction": {"type": "integer", "enum": list(range(1, 11))},
                "leaves_after": {"type": "integer", "enum": list(range(n + 1))},
            },
        }
        return Schema("page", strict(body))

    def read(self, answer: Mapping[str, Any], n: int) -> Verdict:
        """Check an answer about ``n`` items; raises UnfitAnswer."""
        errors: list[str] = []
        satisfaction = _whole(answer, "satisfaction", 1, 10, errors)
        leaves = _whole(answer, "leaves_after", 0, n, errors)
        feeling = answer.get("feeling")
        if not isinstance(feeling, str):
            errors.append("feeling: a text is wanted")
        entries = self._by_place(answer.get("entries"), n, errors)
        done = [self._entry(entries.get(place), place, errors) for place in range(1, n + 1)]
        missing = [place for place in range(1, (leaves or n) + 1) if place not in entries]
        if missing:
            errors.append(f"entries: places {missing} are missing")
        if errors:
            raise UnfitAnswer(errors)
        return Verdict(
            takes=tuple(takes for takes, _, _ in done),
            amount=tuple(amount for _, amount, _ in done),
            reactions=tuple(reactions for _, _, reactions in done),
            leaves_after=leaves,
            satisfaction=satisfaction,
            feeling=one_line(str(feeling), _LONGEST_FEELING),
        )

    def _by_place(self, entries: Any, n: int, errors: list[str]) -> dict[int, Mapping[str, Any]]:
        if not isinstance(entries, list):
            errors.append("entries: a list is wanted")
            return {}
        found: dict[int, Mapping[str, Any]] = {}
        for entry in entries[: 2 * n]:
            place = entry.get("place") if isinstance(entry, Mapping) else None
            if not _is_whole(place) or not 1 <= place <= n:
                errors.append(f"entries: a place is none of 1 to {n}")
            elif place in found:
                errors.append(f"entries: place {place} comes twice")
            else:
                found[place] = entry
        return found

    def _entry(
        self, entry: Mapping[str, Any] | None, place: int, errors: list[str]
    ) -> tuple[bool, float, tuple[bool, ...]]:
        """Whether the item is taken, how much of it, and which reactions."""
        nothing = tuple(False for _ in self.signals.reactions)
        if entry is None:
            return False, self.signals.low, nothing
        takes = entry.get("takes") if self._asks_whether else True
        if not isinstance(takes, bool):
            errors.append(f"place {place}: takes is true or false")
            takes = False
        amount = self._amount(entry, place, takes, errors)
        given = entry.get("reactions", [])
        if not isinstance(given, list) or not set(map(str, given)) <= set(self.signals.reactions):
            errors.append(f"place {place}: reactions are some of {list(self.signals.reactions)}")
            given = []
        return takes, amount, tuple(name in given for name in self.signals.reactions)

    def _amount(
        self, entry: Mapping[str, Any], place: int, takes: bool, errors: list[str]
    ) -> float:
        if self.signals.measure == "positive":
            return float(takes)
        name = "watched" if self.signals.measure == "watch_ratio" else "rating"
        value = entry.get(name)
        low, high = self._range
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            errors.append(f"place {place}: {name} is a number")
            return low
        if self._grades and float(value) not in self._grades:
            errors.append(f"place {place}: {name} is one of {list(self._grades)}")
        elif not low <= value <= high:
            errors.append(f"place {place}: {name} is from {low:g} to {high:g}")
        return float(value)


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(answer: Mapping[str, Any], name: str, low: int, high: int, errors: list[str]) -> int:
    value = answer.get(name)
    if not _is_whole(value) or not low <= value <= high:
        errors.append(f"{name}: a whole number from {low} to {high} is wanted")
        return low
    return value
