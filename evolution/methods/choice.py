"""Which method, or which combination of methods, an agent is evolved by in a cycle, and why.

Decided anew for every agent in every cycle, so that different agents are evolved by different
methods. The reason is a sentence for the cycle's plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from agenticrs.evolution.methods.combination import structures_within
from agenticrs.evolution.methods.saturation import WINDOW, Saturation
from agenticrs.registry.spec import DecisionSpace, Method

Way = Literal["search", "structures", "propose_then_search", "alternate"]
Proposer = Literal["variation", "llm"]
_LEAST_STRUCTURES = 2
_LEAST_WINDOW = 3


@dataclass(frozen=True)
class Choice:
    """How an agent is evolved.

    ``search`` moves in the settings; None: there are none. ``proposer`` draws structures; None:
    they stay. ``structures`` is how many a bracket of propose-then-search compares, ``window``
    after how many candidates without a gain a search counts as saturated.
    """

    way: Way
    search: Method | None
    proposer: Proposer | None
    structures: int
    window: int
    reason: str

    def named(self) -> str:
        """The name for tables: ``tpe``, ``propose_then_search(llm, tpe)``."""
        parts = [part for part in (self.proposer, self.search) if part is not None]
        return parts[0] if len(parts) == 1 else f"{self.way}({', '.join(parts)})"


def choose(
    space: DecisionSpace,
    *,
    trials: int,
    seconds: float = math.inf,
    trial_seconds: float | None = None,
    remembered: int = 0,
    saturation: Saturation | None = None,
    language_model: bool = False,
    wanted: Method | None = None,
) -> Choice:
    """Choose for one agent.

    ``trials`` and ``seconds`` are its budget, ``trial_seconds`` what a trial of it took so far
    (None: never tried), ``remembered`` how many earlier candidates on this data are known, and
    ``saturation`` what its last search ended by. ``wanted`` is the method of search that people ask
    for, saturated or not.
    """
    affordable = trials
    if trial_seconds:
        affordable = max(1, min(trials, int(min(seconds / trial_seconds, trials))))
    window = max(_LEAST_WINDOW, min(WINDOW, affordable // 3))
    search, why = _search(space, saturation, wanted)
    if space.grammar is None:
        return Choice("search", search, None, 0, window, f"its structure is fixed; {why}")
    proposer: Proposer = "llm" if language_model else "variation"
    drawn = (
        "a language model drafts structures"
        if language_model
        else "no language model is configured, mutation and crossover draw structures"
    )
    if search is None:
        reason = f"{drawn}; there are no settings to search"
        return Choice("structures", None, proposer, 0, window, reason)
    structures = structures_within(affordable)
    if structures < _LEAST_STRUCTURES:
        paid = f"the budget pays for {affordable} candidates, too few to compare structures"
        return Choice("search", search, None, 0, window, f"{paid}; {why}")
    if saturation is not None:
        reason = (
            f"its settings are saturated ({saturation.reason}); {drawn}, {structures} at a time, "
            f"and {search} searches a recipe for the better ones"
        )
        return Choice("propose_then_search", search, proposer, structures, window, reason)
    known = f"{remembered} earlier candidates are known" if remembered else "nothing is known yet"
    reason = (
        f"{known} and its settings are not saturated; {search} searches them, and where "
        f"{window} candidates bring nothing, {drawn}"
    )
    return Choice("alternate", search, proposer, structures, window, reason)


def _search(
    space: DecisionSpace, saturation: Saturation | None, wanted: Method | None
) -> tuple[Method | None, str]:
    """The search of the settings, and why it is that one."""
    if not space.parameters:
        return None, "there are no settings to search"
    if wanted is not None:
        return wanted, f"{wanted} is what AGENTICRS_METHODS asks for"
    first, *others = space.methods
    if saturation is not None and others:
        return others[0], f"{others[0]}, because {first} is saturated ({saturation.reason})"
    return first, f"{first} is the first method that it declares"
