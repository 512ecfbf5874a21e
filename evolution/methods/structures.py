"""Candidates by their structure, and what structures take beside the agent's own.

Rewards say nothing of seconds. Left to them, structures grow: on MovieLens 1M those that two
earlier cycles ended with took up to half of a search's seconds for one training, and the search
for what is left had hardly a candidate (``docs/results.md``, what each method adds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from agenticrs.evolution.methods.method import Tried, Values
from agenticrs.evolution.methods.points import STRUCTURE, candidates

OWN = "own"
"""What stands in the place of a fingerprint for the agent's own structure."""
NO_DOCUMENT = "none"
"""And for what is no document of the grammar: it was refused, or its bounds have changed since."""
Groups = dict[str, list[Tried]]
"""Structure -> its candidates, both in the order in which they came."""
DEAR = 4.0
"""Times the usual seconds from which a structure is too dear to go on with."""


def structure_key(values: Values) -> str:
    """Fingerprint of the structure that values bring along; ``own`` for the agent's own."""
    brought = values.get(STRUCTURE)
    if not brought:
        return OWN
    from agenticrs.agents.grammar.canonical import fingerprint
    from agenticrs.agents.grammar.document import Architecture

    try:
        return fingerprint(Architecture.model_validate(brought))
    except ValueError:  # a group of its own, which never gets a reward
        return NO_DOCUMENT


def grouped(tried: Sequence[Tried]) -> Groups:
    """Candidates by structure; a draft that came to nothing has none."""
    groups: Groups = {}
    for one in candidates(tried):
        groups.setdefault(structure_key(one.values), []).append(one)
    return groups


def of_structure(tried: Sequence[Tried], name: str) -> list[Tried]:
    """Candidates of one structure, without it: points of the space of its recipe."""
    return [bare(one) for one in tried if structure_key(one.values) == name]


def bare(one: Tried) -> Tried:
    """A candidate without its structure: a point of the space of its recipe."""
    return replace(one, values={n: v for n, v in one.values.items() if n != STRUCTURE})


def paying(tried: Sequence[Tried]) -> list[Tried]:
    """Candidates with those as failed that took more than ``DEAR`` times what is usual, and why.

    Usual is the median of the agent's own structure; where none of it is done, of the structure
    that takes least. Whose seconds are not known costs nothing.
    """
    known = {
        name: median(seconds)
        for name, rows in grouped(tried).items()
        if (seconds := [one.seconds for one in rows if one.state == "done" and one.seconds > 0])
    }
    if not known:
        return list(tried)
    usual = known.get(OWN, min(known.values()))
    return [
        replace(one, state="failed", reward=None, error=f"it takes {times:.1f} times the usual")
        if one.state == "done" and STRUCTURE in one.values and (times := one.seconds / usual) > DEAR
        else one
        for one in tried
    ]
