"""What earlier searches on other data say about this one.

Rewards on two datasets cannot be compared as they are: other users, other items, harder days. But
the best points of earlier searches are tried again first, so some points have a reward on both
sides, and the quotient of these says how much one side is worth on the other. With it an earlier
search is as good as one of this study's own to a sampler that asks which points are good ones.
A best point's earlier reward was partly luck, so the quotient is rather too low: the past is never
made to look better than what was seen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agenticrs.evolution.methods.method import Tried, Values
from agenticrs.registry.spec import ConcreteParameter

Elsewhere = Sequence[Sequence[Tried]]
"""Candidates that are done, of one other dataset each."""


def transferred(
    elsewhere: Elsewhere, space: Sequence[ConcreteParameter], tried: Sequence[Tried]
) -> list[Tried]:
    """Earlier candidates with the rewards that they would have here.

    Nothing of a dataset none of whose points was tried here, or where the points that were tried
    on both sides are worth nothing on one of them.
    """
    names = [parameter.name for parameter in space]
    here = {
        key: one.reward
        for one in tried
        if one.reward is not None and (key := _key(one.values, names)) is not None
    }
    found: list[Tried] = []
    for past in elsewhere:
        known = [(one.reward, _key(one.values, names)) for one in past if one.reward is not None]
        both = [(then, here[key]) for then, key in known if key is not None and key in here]
        before, now = sum(then for then, _ in both), sum(again for _, again in both)
        if before > 0 and now > 0:
            found += [
                replace(one, reward=one.reward * now / before)
                for one in past
                if one.reward is not None
            ]
    return found


def _key(values: Values, names: Sequence[str]) -> tuple[object, ...] | None:
    """A point as the space sees it; None where a parameter is missing."""
    inside = [name in values for name in names]
    return tuple(values[name] for name in names) if all(inside) else None
