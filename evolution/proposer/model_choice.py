"""Which of several models to ask: Thompson sampling of improvement for what it costs.

Nothing is kept: every call looks at what was tried, so a search that was cut off goes on with what
it knew. A candidate counts by how much it raised the best reward known before it, in parts of the
largest rise; one that was refused, stopped or failed counts nothing, and has cost all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agenticrs.evolution.methods.method import Tried
from agenticrs.platform.llm.spending import Spent, Tariff

ORIGIN = "llm:"
_LEAST_COST = 1e-9


@dataclass(frozen=True)
class Outcome:
    """What came of one draft of a model: the relative rise of the best reward, and its cost."""

    model: str
    rise: float
    spent: Spent


def outcomes(tried: Sequence[Tried], best: float | None = None) -> list[Outcome]:
    """The drafts among the candidates, in order; ``best`` is the reward known before them all.

    A candidate that is still open counts as no rise yet.
    """
    found = []
    for one in tried:
        rise = 0.0
        if one.reward is not None and best is not None:
            rise = max(0.0, one.reward - best) / max(abs(best), 1e-6)
        if one.reward is not None:
            best = one.reward if best is None else max(best, one.reward)
        if one.origin.startswith(ORIGIN):
            spent = Spent.of_note(one.note.get("cost", {}))
            found.append(Outcome(one.origin.removeprefix(ORIGIN), rise, spent))
    return found


def choose(
    models: Sequence[str],
    known: Sequence[Outcome],
    tariff: Tariff,
    rng: np.random.Generator,
) -> str:
    """One of the models: first each once, in order, then the best draw of rise by cost.

    Cost is money where every model has a price, else tokens. Raises ValueError without models.
    """
    if not models:
        raise ValueError("there is no model to choose")
    of_model = {name: [one for one in known if one.model == name] for name in models}
    for name in models:
        if not of_model[name]:
            return name
    priced = all(any(tariff.prices.get(name, ())) for name in models)
    pooled = [_cost(one.spent, priced) for one in known if one.model in of_model]
    usual = sum(pooled) / len(pooled)
    largest = max((one.rise for one in known), default=0.0) or 1.0

    def worth(name: str) -> float:
        mine = of_model[name]
        won = sum(min(1.0, one.rise / largest) for one in mine)
        cost = (sum(_cost(one.spent, priced) for one in mine) + usual) / (len(mine) + 1)
        return float(rng.beta(1.0 + won, 1.0 + len(mine) - won)) / max(cost, _LEAST_COST)

    return max(models, key=worth)


def _cost(spent: Spent, priced: bool) -> float:
    return spent.money if priced else float(spent.tokens)
